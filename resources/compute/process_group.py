"""The process group of an engine on this machine."""

import contextlib
import os
import signal
import time
from typing import Protocol

GRACE_S = 10.0
POLL_S = 0.02


class Process(Protocol):
    """A running engine, the first of its process group."""

    pid: int

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        ...


def stop(process: Process) -> None:
    """Terminate the process group, kill what is left of it after the grace, and wait."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if process.poll() is not None:
                return
            time.sleep(POLL_S)


def kill_rest(process: Process) -> None:
    """Kill what an engine that has ended has started and left in its process group."""
    if process.poll() is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
