"""The queue of dagster_runs, each of which carries the user who started it.

The gateway is the only one who may reach a Dagster webserver, and sets the header itself; what
arrives from a browser under that name is dropped there.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagster import DagsterRun
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig
from typing_extensions import override

from resources.orchestration.graphql import USER_HEADER, USER_TAG
from resources.orchestration.run_queue import wake

LOOK_EVERY_S = 5.0


def always() -> bool:
    """There is room for a worker."""
    return True


class AttributingCoordinator(QueuedRunCoordinator):
    """Queues dagster_runs, tagged with who started them, and lets none go while there is no room
    for its worker."""

    def __init__(
        self, *, queue: Path | None = None, has_room: Callable[[], bool] = always, **options: Any
    ) -> None:
        super().__init__(**options)
        self._queue = queue
        self._has_room, self._room = has_room, True
        self._looked, self._looking = float("-inf"), threading.Lock()

    @override
    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Tag the dagster_run, then queue it."""
        if user := context.get_request_header(USER_HEADER):
            # Before it is queued, because a queued dagster_run may start at once.
            self._instance.add_run_tags(context.dagster_run.run_id, {USER_TAG: user})
        run = super().submit_run(context)
        if self._queue:
            wake(self._queue)
        return run

    @override
    def get_run_queue_config(self) -> RunQueueConfig:
        """How many dagster_runs may be under way; no more while a worker waits for room.

        Dagster asks at each look at the queue.
        """
        config = super().get_run_queue_config()
        is_old = time.monotonic() - self._looked > LOOK_EVERY_S
        if is_old and self._looking.acquire(blocking=False):
            try:
                self._room, self._looked = self._has_room(), time.monotonic()
            finally:
                self._looking.release()
        return config if self._room else config._replace(max_concurrent_runs=0)
