"""All processes of one run of a container, whichever session they moved to.

A real container ends with its main process, and whatever it started ends with it. Here a variable
of the environment, which children inherit, tells whose they are.
"""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator

_MARK = "CONTAINER_RUN"
_ROUNDS = 200
_ROUND_S = 0.005


def new_run() -> str:
    """What identifies a run."""
    return uuid.uuid4().hex


def mark(run: str) -> dict[str, str]:
    """The variable that the run's processes have."""
    return {_MARK: run}


def _belongs(pid: int, run: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{_MARK}={run}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def processes_of(run: str) -> Iterator[int]:
    """Process ids of the run; zombies have none of its variables."""
    for name in os.listdir("/proc"):
        if name.isdigit() and _belongs(int(name), run):
            yield int(name)


def kill_run(run: str) -> None:
    """Kills every process of the run, and those that they start meanwhile."""
    for _ in range(_ROUNDS):
        result = list(processes_of(run))
        if not result:
            return
        for pid in result:
            _kill(pid, run)
        time.sleep(_ROUND_S)


def _kill(pid: int, run: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            # The id may be another process's by now; the handle cannot become one's.
            if _belongs(pid, run):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
