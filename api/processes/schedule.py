"""The schedule of `orrery gc` on one machine: it is started again and again while `orrery up` runs.

It is due so many hours after it began the last time, so that a machine that is off at night is not
left out; a new state folder has nothing old, and waits its first hours.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable

from api.processes.plan import ProcessPlan, log_of, start
from resources.settings import Settings

HOUR_S = 3_600.0
LOOKS_EVERY_S = 10.0
PLAN = ProcessPlan(
    "collection",
    [sys.executable, "-m", "api.cli.main", "gc", "--scheduled"],
    lambda: True,
)


class CollectionSchedule:
    """Starts `orrery gc` when it is due, and never a second one beside it."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings, self._say = settings, say
        self._stamp = settings.state / "collection" / "scheduled"
        self._process: subprocess.Popen | None = None
        self._due = 0.0

    def look(self) -> None:
        """Start it if it is due, and tell of one that has failed."""
        if self._settings.collect_every_h == 0 or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOKS_EVERY_S
        if self._process is not None:
            if (code := self._process.poll()) is None:
                return
            self._process = None
            if code:
                log = log_of(PLAN, self._settings)
                self._say(f"orrery gc ended with {code}; {log} says why")
        if self._is_due():
            self._stamp.touch()
            self._process = start(PLAN, self._settings)

    def _is_due(self) -> bool:
        if not self._stamp.exists():
            self._stamp.parent.mkdir(parents=True, exist_ok=True)
            self._stamp.touch()
        # Of the future where the clock was set back.
        last = min(self._stamp.stat().st_mtime, time.time())
        return time.time() - last >= self._settings.collect_every_h * HOUR_S

    def stop(self) -> None:
        """End it where it runs: what it has not removed goes the next time."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PLAN.stops_within_s)
        self._process.kill()
        self._process.wait()
        self._process = None
