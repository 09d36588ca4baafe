"""The dispatcher: brings every job from queued to its end, and tells who asked to be told.

Everything it knows lies in the control database and in Dagster, so it may be killed at any point
and started anywhere: claims lapse, and a dagster_run that was started is found by its tag.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from api.callbacks import Callbacks
from api.platform import Platform
from api.training_runs import reached, runs_of
from resources.control import ControlUnavailable
from resources.dagster_events import EventsUnavailable, RunState
from resources.dagster_graphql import (
    JOB_TAG,
    USER_TAG,
    DagsterGraphql,
    DagsterUnavailable,
    LaunchRefused,
)
from scheduler import deliveries, jobs
from scheduler.jobs import Job
from scheduler.states import ENDED, Status

IDLE_S = 1.0
BUSY_S = 0.25
AT_ONCE = 10
STATUS: dict[str, Status] = {
    "QUEUED": "starting",
    "NOT_STARTED": "starting",
    "STARTING": "starting",
    "STARTED": "running",
    "CANCELING": "stopping",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "CANCELED": "stopped",
}
TOLD: frozenset[Status] = frozenset({"running", "succeeded", "failed", "stopped"})
"""Changes that a callback tells of."""
GONE = "its dagster_run was deleted"
ENDS = ("SUCCESS", "FAILURE", "CANCELED")
RETRY_WITHIN_S = 120.0
"""How long a dagster_run that is to be repeated may stay without its repetition."""
DECIDED_WITHIN_S = 10.0
"""Dagster records a failure first, and a moment later whether it will repeat the dagster_run."""
log = logging.getLogger(__name__)


class Dispatcher:
    """Works through jobs and callbacks until it is cancelled."""

    def __init__(self, platform: Platform, dagster: DagsterGraphql, callbacks: Callbacks) -> None:
        self._platform, self._dagster, self._callbacks = platform, dagster, callbacks
        self._wake = asyncio.Event()
        self._reload = asyncio.Event()
        self._reloaded = asyncio.Lock()

    def wake(self) -> None:
        """There is something to do. To be called in the loop's thread."""
        self._wake.set()

    def reload(self) -> None:
        """Definitions have changed. To be called in the loop's thread."""
        self._reload.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; a part that fails is tried again, and stops no other part."""
        parts: list[Callable[[], Awaitable[bool]]] = [self._launch, self._follow, self._tell]
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(self._repeat(part))
            group.create_task(self._reload_when_told())

    async def _repeat(self, part: Callable[[], Awaitable[bool]]) -> None:
        while True:
            busy = False
            try:
                busy = await part()
            except (ControlUnavailable, EventsUnavailable, DagsterUnavailable) as error:
                log.warning("%s: %s", part.__name__.strip("_"), error)
            except Exception:
                log.exception("%s failed", part.__name__.strip("_"))
            if not busy:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), IDLE_S)
            else:
                await asyncio.sleep(BUSY_S)

    async def _reload_when_told(self) -> None:
        while True:
            await self._reload.wait()
            await self._bring_definitions()

    async def _bring_definitions(self) -> None:
        """Have Dagster load the definitions, if they changed since it last did."""
        async with self._reloaded:
            if not self._reload.is_set():
                return
            self._reload.clear()
            try:
                await self._dagster.reload()
            except DagsterUnavailable as error:
                log.warning("definitions are not loaded yet: %s", error)
                await asyncio.sleep(IDLE_S)
                self._reload.set()

    async def _launch(self) -> bool:
        claimed = await run_in_threadpool(self._claim)
        if claimed:
            await self._bring_definitions()
            await asyncio.gather(*(self._start(job) for job in claimed))
        return bool(claimed)

    def _claim(self) -> list[Job]:
        # Reading first keeps an idle dispatcher from taking the writer's lock.
        with self._platform.control.read() as connection:
            if not jobs.has_due(connection):
                return []
        with self._platform.control.write() as connection:
            return jobs.claim(connection, AT_ONCE)

    async def _start(self, job: Job) -> None:
        try:
            run_id = await self._dagster.find(job.id) if job.attempts else None
            if run_id is None and job.stop_asked_at is not None:
                await self._write(lambda c: self._proceed(c, job, "stopped"))
                return
            if run_id is None:
                run_id = await self._ask_dagster(job)
        except LaunchRefused as error:
            reason = str(error)
            await self._write(lambda c: self._proceed(c, job, "failed", message=reason))
            return
        except DagsterUnavailable as error:
            reason = str(error)
            await self._write(lambda c: jobs.put_off(c, job, reason))
            return
        started = run_id
        await self._write(lambda c: jobs.launched(c, job.id, started))

    async def _ask_dagster(self, job: Job) -> str:
        launch = job.spec["launch"]
        tags = {
            JOB_TAG: job.id,
            USER_TAG: job.created_by,
            "orrery/organization": job.organization_id,
        }
        return await self._dagster.launch(
            launch["job"], launch["assets"], launch["config"], tags, job.created_by
        )

    async def _follow(self) -> bool:
        going = await run_in_threadpool(self._under_way)
        if not going:
            return False
        states = await run_in_threadpool(
            self._platform.events.states, [job.dagster_run_id or "" for job in going]
        )
        by_id = {state.run_id: state for state in states}
        for job in going:
            state = by_id.get(job.dagster_run_id or "")
            if state is None:
                await self._write(lambda c, j=job: self._proceed(c, j, "failed", message=GONE))
                continue
            if job.stop_asked_at is not None and state.status not in ("CANCELING", *ENDS):
                await self._dagster.terminate(state.run_id)
            await run_in_threadpool(self._advance, job, state)
        return True

    def _under_way(self) -> list[Job]:
        with self._platform.control.read() as connection:
            return jobs.under_way(connection)

    def _advance(self, job: Job, state: RunState) -> None:
        status = STATUS.get(state.status, "starting")
        if job.stop_asked_at is not None and status not in ENDED:
            status = "stopping"
        message: str | None = None
        if status == "failed":
            if self._is_repeated(job, state):
                return
            message = self._platform.events.failure_of(state.run_id)
            status = "failed" if job.stop_asked_at is None else "stopped"
        if status == "stopped":
            if job.kind == "release":
                # Its driver may have been killed before it could.
                self._platform.runtime.stop(f"{job.project}.{job.name}", runs_of(job)[0])
            kept = reached(self._platform, job)
            message = "; ".join(filter(None, (job.message, kept)))
        if status == job.status and (state.started_at is None or job.started_at is not None):
            return
        with self._platform.control.write() as connection:
            self._proceed(
                connection,
                job,
                status,
                message=message,
                started_at=state.started_at,
                ended_at=state.ended_at,
            )

    def _is_repeated(self, job: Job, state: RunState) -> bool:
        """Whether the failed dagster_run is repeated, or that is still to be decided."""
        if state.will_retry is False and job.stop_asked_at is None:
            return False
        if retry := self._platform.events.retry_of(state.run_id):
            with self._platform.control.write() as connection:
                jobs.retried(connection, job, retry)
            return True
        patience_s = RETRY_WITHIN_S if state.will_retry else DECIDED_WITHIN_S
        return state.will_retry is not False and time.time() - (state.ended_at or 0) < patience_s

    def _proceed(self, connection: Connection, job: Job, status: Status, **more: Any) -> None:
        changed = jobs.proceed(connection, job, status, **more)
        if changed is None or not changed.callback or status not in TOLD:
            return
        event = f"job.{status}"
        deliveries.owe(
            connection,
            job.organization_id,
            job.id,
            changed.callback,
            event,
            _body(event, changed, self._platform),
        )

    async def _tell(self) -> bool:
        owed = await run_in_threadpool(self._owed)
        await asyncio.gather(*(self._callbacks.send(delivery) for delivery in owed))
        return bool(owed)

    def _owed(self) -> list[deliveries.Delivery]:
        with self._platform.control.read() as connection:
            if not deliveries.has_due(connection):
                return []
        with self._platform.control.write() as connection:
            return deliveries.claim(connection)

    async def _write(self, change: Callable[[Connection], Any]) -> None:
        def written() -> None:
            with self._platform.control.write() as connection:
                change(connection)

        await run_in_threadpool(written)


def _body(event: str, job: Job, platform: Platform) -> str:
    """What a callback says, in the form of Standard Webhooks."""
    told = {
        "job_id": job.id,
        "kind": job.kind,
        "project": platform.projects.shown(job.project),
        "name": job.name,
        "status": job.status,
        "message": job.message,
    }
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"type": event, "timestamp": at, "data": told})
