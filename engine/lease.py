"""The lease between a driver and its engine: work nobody waits for stops itself."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

GRACE_S = 5.0
# `holder` has the lock for microseconds, and more where a machine is busy.
ASKED_WITHIN_S = 0.5


class AlreadyRunning(Exception):
    """Another process works on the same job."""


def renew(workdir: Path) -> None:
    """Tell the engine that its driver lives."""
    (workdir / "lease").touch()


def age_s(workdir: Path) -> float:
    """Seconds since the driver last renewed; infinite where there is no lease."""
    try:
        return time.time() - (workdir / "lease").stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def hold(workdir: Path) -> int:
    """Descriptor that marks this process as the only one at work, until it ends.

    Raises AlreadyRunning.
    """
    descriptor = os.open(workdir / "engine.lock", os.O_CREAT | os.O_RDWR, 0o600)
    end = time.monotonic() + ASKED_WITHIN_S
    while True:
        try:
            # Not a FileLock, which has no shared lock for `holder` to ask with.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            # Perhaps it is only `holder` of another process, which asks.
            if time.monotonic() > end:
                os.close(descriptor)
                raise AlreadyRunning(f"another process works in {workdir}") from None
            time.sleep(0.01)
    # Emptied under the lock only: until then the file names the process that holds it.
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is between here and the end, on the same lock file."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield


def holder(workdir: Path) -> int | None:
    """Process id of the engine at work, or None when none is."""
    path = workdir / "engine.lock"
    try:
        with path.open("rb") as file:
            try:
                # Shared: two processes that ask at once must not take each other for the holder.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                # The file is empty until the holder has written its process id.
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


def stop_when_abandoned(workdir: Path, lease_s: float) -> None:
    """Terminate this process's group once the lease is older than `lease_s` seconds."""

    def watch() -> None:
        while age_s(workdir) <= lease_s:
            # At most a quarter of the lease, so that the end of a short lease is noticed in time.
            time.sleep(min(1.0, lease_s / 4))
        os.killpg(os.getpgrp(), signal.SIGTERM)
        # A process may have inherited that it ignores SIGTERM.
        time.sleep(GRACE_S)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="lease", daemon=True).start()
