"""How a job stands between its start and its end, and what keeps it: what a person is shown."""

import threading
import time
from typing import Any, NamedTuple

from api.context import Platform
from resources.orchestration.events import RunState
from scheduler import jobs
from scheduler.jobs import Job
from scheduler.states import Status

LOOK_EVERY_S = 2.0
STARTING = ("NOT_STARTED", "STARTING")


class Standing(NamedTuple):
    """The state of a job that goes on."""

    status: Status
    message: str
    """What keeps it, or hides how it is; empty where nothing does."""


STARTS, RUNS = Standing("starting", ""), Standing("running", "")


class Standings:
    """Standings of jobs, looked up every `LOOK_EVERY_S`."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._looked: dict[str, tuple[str, float]] = {}
        """By job: the state of its dagster_run at the last look, and when that was."""
        self._queue: tuple[float, Standing] = (float("-inf"), STARTS)
        self._looking = threading.Lock()

    def of(self, job: Job, state: RunState) -> Standing | None:
        """How the job stands whose dagster_run is in this state; None where that was looked up a
        moment ago: another gateway may know something newer. Raises EventsUnavailable."""
        if state.status == "QUEUED":
            return self._in_the_queue()
        status, at = self._looked.get(job.id, ("", float("-inf")))
        if status == state.status and time.monotonic() - at < LOOK_EVERY_S:
            return None
        standing = self._look(job, state)
        self._looked[job.id] = state.status, time.monotonic()
        return standing

    def last_report(self, job: Job, state: RunState) -> None:
        """Keep the last report of a job that has ended."""
        self._report(job, state)

    def forget_all_but(self, job_ids: set[str]) -> None:
        """Forget jobs that have ended, here or at another gateway."""
        for job_id in self._looked.keys() - job_ids:
            self._looked.pop(job_id, None)

    def _look(self, job: Job, state: RunState) -> Standing:
        if state.status in STARTING:
            return _for(self._platform.run_workers.trouble_of(state.run_id))
        return standing_of(self._report(job, state))

    def _in_the_queue(self) -> Standing:
        """That of every queued job, however many there are: one looks for all, and nobody waits
        for it."""
        is_old = time.monotonic() - self._queue[0] >= LOOK_EVERY_S
        if is_old and self._looking.acquire(blocking=False):
            try:
                reason = self._platform.run_workers.outage() or self._platform.events.full_queue()
                self._queue = time.monotonic(), _for(reason)
            finally:
                self._looking.release()
        return self._queue[1]

    def _report(self, job: Job, state: RunState) -> dict[str, Any] | None:
        """The newest report of the job's work, which is kept."""
        progress = self._platform.events.progress_of(state.run_id)
        if progress is not None and progress != job.progress:
            with self._platform.control.write() as connection:
                jobs.report(connection, job.id, progress)
        return progress


def _for(reason: str) -> Standing:
    return Standing("waiting", reason) if reason else STARTS


def standing_of(progress: dict[str, Any] | None) -> Standing:
    """What the newest report (engine.progress) says of a job whose dagster_run is under way."""
    if progress is None:
        return RUNS
    status: Status = "waiting" if progress.get("state") == "waiting" else "running"
    return Standing(status, progress.get("reason", ""))
