"""Bounded logs of processes that keep their log open for as long as they run.

A log that has grown too long is copied to a file beside it and emptied in place: whoever writes
appends, and goes on at the new end. What is written between the copy and the emptying is lost.
"""

import logging
import os
import shutil
import time
from pathlib import Path

LONGEST_BYTES = 32 << 20
"""Of a log; the one before is kept beside it."""
EVERY_S = 10.0
EARLIER = ".1"
log = logging.getLogger(__name__)


class Rotation:
    """Logs of `orrery up` and of the replicas of services in a state folder."""

    def __init__(self, state: Path, longest_bytes: int = LONGEST_BYTES) -> None:
        self._state, self._longest, self._due = state, longest_bytes, 0.0

    def look(self) -> None:
        """Shorten what has grown too long, at most every `EVERY_S` seconds."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY_S
        for pattern in ("processes/*.log", "services/*/logs/*.log"):
            for file in self._state.glob(pattern):
                try:
                    if file.stat().st_size > self._longest:
                        rotate(file)
                except OSError as error:
                    # For example on a full disk: the process goes on with its log as it is.
                    log.warning("%s is not shortened: %s", file, error)


def rotate(file: Path) -> None:
    """Move what the log holds to the file beside it. Raises OSError, and the log is as before."""
    draft = file.with_name(f"{file.name}.draft")
    try:
        shutil.copyfile(file, draft)
        draft.replace(file.with_name(f"{file.name}{EARLIER}"))
    finally:
        draft.unlink(missing_ok=True)
    os.truncate(file, 0)
