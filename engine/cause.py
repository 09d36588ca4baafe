"""Why a job failed, in one word, and the lines that say so.

| cause | tried again |
|---|---|
| out_of_memory, not_finite, bad_data, exception, refused | no: the same work fails the same way |
| hang, too_long | no: the declared time was over |
| lost_worker, lost_node | yes, from the newest checkpoint |
| outage | for as long as it lasts |
"""

import re
from collections.abc import Iterator
from typing import Literal

Cause = Literal[
    "out_of_memory",
    "not_finite",
    "bad_data",
    "hang",
    "too_long",
    "exception",
    "lost_worker",
    "lost_node",
    "outage",
    "refused",
]
MOST_LINES = 12
LONGEST_LINE = 400
FRAME = re.compile(r'^\s*File "(?P<file>.+)", line \d+(?:,)? in ')
"""A place in the code, of a trace or of a dump of stacks."""
OTHERS = ("site-packages", "dist-packages", "/lib/python", "<frozen", "<string>")
MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|can't allocate memory|Cannot allocate memory|MemoryError",
    re.IGNORECASE,
)
NAMED: dict[str, Cause] = {
    "MemoryError": "out_of_memory",
    "OutOfMemoryError": "out_of_memory",
    "NodeDiedError": "lost_node",
    "ActorDiedError": "lost_worker",
    "RayActorError": "lost_worker",
    "WorkerCrashedError": "lost_worker",
    "UnicodeDecodeError": "bad_data",
}
"""Classes of other packages, which are not imported for it."""


def cause_of(error: BaseException) -> Cause:
    """The cause of an error, or of what it was raised from."""
    seen: set[int] = set()
    found: Cause = getattr(error, "cause", "exception")
    while found in ("exception", "refused") and id(error) not in seen:
        seen.add(id(error))
        named: list[Cause] = [
            NAMED[each.__name__] for each in type(error).__mro__ if each.__name__ in NAMED
        ]
        if named:
            return named[0]
        if isinstance(error, (RuntimeError, OSError)) and MEMORY.search(str(error)):
            return "out_of_memory"
        before = error.__cause__ or error.__context__
        if before is None:
            break
        error = before
        own: Cause = getattr(error, "cause", "exception")
        found = found if own in ("exception", "refused") else own
    return found


def lines_of(text: str) -> list[str]:
    """The lines that matter of a trace, of a dump of stacks or of a log: where in people's own code
    it happened, and the last words."""
    lines = [line.rstrip()[:LONGEST_LINE] for line in text.splitlines() if line.strip()]
    own = list(_own_frames(lines))[-MOST_LINES // 2 :]
    last = [line for line in lines[-(MOST_LINES - len(own)) :] if line not in own]
    if own:
        # Frames of libraries say nothing to who reads them first.
        last = [line for line in last if not FRAME.match(line) and not line.startswith("    ")]
    return [*own, *last]


def _own_frames(lines: list[str]) -> Iterator[str]:
    for line in lines:
        frame = FRAME.match(line)
        if frame and not any(other in frame["file"] for other in OTHERS):
            yield line.strip()
