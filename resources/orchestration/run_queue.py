"""The daemon that starts queued dagster_runs, woken by whoever queues one.

Dagster's looks into the queue every second, whether anything was queued or not, and whoever queues
waits half a second on average.

timeout: `QUIET_S`; a wake-up that nobody hears is made good by the next look.
retry: none is needed.
cancel: the daemon's own end.
duplicate: a second wake-up is a look that finds nothing.
partial write: a datagram arrives whole or not at all.
"""

import contextlib
import select
import socket
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from threading import Event
from typing import Any

from dagster import DagsterRunStatus, RunsFilter
from dagster._daemon.daemon import SpanMarker
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._utils.error import serializable_error_info_from_exc_info

BUSY_S = 1.0
"""Between two looks while a dagster_run waits, which limits or a missing worker hold back."""
QUIET_S = 5.0
ENDS_WITHIN_S = 0.5
"""The daemon may be told to end at any time."""
QUEUED = RunsFilter(statuses=[DagsterRunStatus.QUEUED])


class WakeUps:
    """Wake-ups of one process, at a socket of this machine that no other user can write to."""

    def __init__(self, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        # A daemon that was killed leaves its socket, and nobody can bind to it again.
        place.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(place))
        place.chmod(0o600)

    def arrive(self, within_s: float) -> bool:
        """Whether one arrives within so long; all that are there are taken together."""
        if not select.select([self._socket], [], [], within_s)[0]:
            return False
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1):
                pass
        return True

    def close(self) -> None:
        """Take no more."""
        self._socket.close()


def wake(place: Path) -> None:
    """Wake the daemon that listens there, if one does."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.setblocking(False)
        sender.sendto(b"!", str(place))


def look_when_woken(place: Path) -> None:
    """Let the daemon of this process look into the queue when it is woken there."""

    def core_loop(self: Any, context: Any, shutdown_event: Event) -> Iterator[Any]:
        wake_ups = WakeUps(place)
        try:
            while True:
                pause_s = yield from _look(self, context)
                yield from _rest(wake_ups, pause_s, shutdown_event)
        finally:
            wake_ups.close()

    daemon: Any = QueuedRunCoordinatorDaemon
    # The interval is all that Dagster lets one choose (docs/decisions/0006).
    daemon.core_loop = core_loop


def _look(daemon: Any, context: Any) -> Generator[Any, None, float]:
    """Start what may be started; returns the seconds to the next look."""
    pause_s = BUSY_S
    yield SpanMarker.START_SPAN
    try:
        yield from daemon.run_iteration(context)
        pause_s = BUSY_S if context.instance.get_run_records(QUEUED, limit=1) else QUIET_S
    except Exception:
        error = serializable_error_info_from_exc_info(sys.exc_info())
        daemon._logger.error("the queue of dagster_runs cannot be worked on: %s", error)
        yield error
    yield SpanMarker.END_SPAN
    return pause_s


def _rest(wake_ups: WakeUps, pause_s: float, shutdown_event: Event) -> Iterator[None]:
    """Wait for a wake-up; Dagster reports in between that the daemon lives."""
    end = time.monotonic() + pause_s
    while (left_s := end - time.monotonic()) > 0 and not shutdown_event.is_set():
        if wake_ups.arrive(min(ENDS_WITHIN_S, left_s)):
            return
        yield None
