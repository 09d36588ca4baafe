"""The dispatcher: brings every job from queued to its end, and tells who asked to be told.

Everything it knows lies in the control database and in Dagster, so it may be killed at any point
and started anywhere: claims lapse, and a dagster_run that was started is found by its tag.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from api.collection.queue import CollectionQueue
from api.context import Platform
from api.definitions_loader import DefinitionsLoader
from api.jobs import callbacks
from api.jobs.callbacks import Callbacks
from api.jobs.endings import ending
from api.jobs.launches import Launches
from api.jobs.standings import Standing, Standings
from api.jobs.training_runs import reached, runs_of
from resources.database.control import ControlUnavailable
from resources.orchestration.events import EventsUnavailable, RunState
from resources.orchestration.graphql import (
    DagsterGraphql,
    DagsterUnavailable,
    LaunchRefused,
    NotDefined,
)
from scheduler import deliveries, jobs
from scheduler.jobs import Job
from scheduler.states import Status

IDLE_S = 2.0
BUSY_S = 0.25
AT_ONCE = 10
MOST_LOADS = 20
"""Attempts of a job whose definitions do not load although they are declared."""
ENDS: dict[str, Status] = {"SUCCESS": "succeeded", "FAILURE": "failed", "CANCELED": "stopped"}
GONE = "its dagster_run was deleted"
RETRY_WITHIN_S = 120.0
"""How long a dagster_run that is to be repeated may stay without its repetition."""
DECIDED_WITHIN_S = 10.0
"""Dagster records a failure first, and a moment later whether it will repeat the dagster_run."""
log = logging.getLogger(__name__)


LIMITED_BY_ENGINE = ("train", "simulate")


class Dispatcher:
    """Works through jobs and callbacks until it is cancelled."""

    def __init__(self, platform: Platform, dagster: DagsterGraphql, callbacks: Callbacks) -> None:
        self._platform, self._dagster, self._callbacks = platform, dagster, callbacks
        self._launches = Launches(platform, dagster)
        self._wake = asyncio.Event()
        self._definitions = DefinitionsLoader(platform, dagster)
        self._standings = Standings(platform)
        self._collections = CollectionQueue(platform)

    def wake(self) -> None:
        """There is something to do. To be called in the loop's thread."""
        self._wake.set()

    def reload(self) -> None:
        """Definitions have changed. To be called in the loop's thread."""
        self._definitions.load_soon()
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; a part that fails is tried again, and stops no other part."""
        collect = self._collections.work
        parts: list[Callable[[], Awaitable[bool]]] = [
            *(self._launch, self._follow, self._tell, collect)
        ]
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(self._repeat(part))
            group.create_task(self._definitions.load_when_changed())
            group.create_task(self._definitions.watch())

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

    async def _launch(self) -> bool:
        claimed = await run_in_threadpool(self._claim)
        if claimed:
            await self._definitions.bring()
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
            # `attempts` counts earlier claims; only one of those can have started a dagster_run.
            run_id = await self._dagster.find(job.id) if job.attempts else None
            if run_id is None and job.stop_asked_at is not None:
                await self._write(lambda c: self._proceed(c, job, "stopped"))
                return
            if run_id is None:
                run_id = await self._launches.start(job)
        except NotDefined as error:
            await self._await_definitions(job, error)
            return
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

    async def _await_definitions(self, job: Job, error: NotDefined) -> None:
        """Put the job off while Dagster lacks what is declared; fail it where nothing declares it
        any more."""
        if await run_in_threadpool(self._launches.is_declared, job) and job.attempts <= MOST_LOADS:
            reason = f"waits for Dagster to load the definitions of {job.project}"
            self._definitions.load_soon()
            await self._write(lambda c: jobs.put_off(c, job, reason))
            return
        text = f"{job.project}.{job.name} is not declared any more ({error})"
        await self._write(lambda c: self._proceed(c, job, "failed", message=text))

    async def _follow(self) -> bool:
        going = await run_in_threadpool(self._under_way)
        self._standings.forget_all_but({job.id for job in going})
        if not going:
            return False
        states = await run_in_threadpool(
            self._platform.events.states, [job.dagster_run_id or "" for job in going]
        )
        by_id = {state.run_id: state for state in states}
        await asyncio.gather(
            *(self._follow_job(job, by_id.get(job.dagster_run_id or "")) for job in going)
        )
        return True

    async def _follow_job(self, job: Job, state: RunState | None) -> None:
        """Bring one job forward; what stands in its way is no other job's business."""
        try:
            if state is None:
                await self._write(lambda c: self._proceed(c, job, "failed", message=GONE))
                return
            if _is_overdue(job):
                reason = f"it ran longer than its max_seconds, {job.spec['max_seconds']:g}"
                await self._write(lambda c: jobs.ask_to_stop(c, job, reason))
                job = job._replace(stop_asked_at=time.time(), message=reason)
            if job.stop_asked_at is not None and state.status not in ("CANCELING", *ENDS):
                await self._dagster.terminate(state.run_id)
            await run_in_threadpool(self._advance, job, state)
        except (ControlUnavailable, EventsUnavailable, DagsterUnavailable) as error:
            log.warning("job %s has to wait: %s", job.id, error)
        except Exception:
            log.exception("job %s could not be followed", job.id)

    def _under_way(self) -> list[Job]:
        with self._platform.control.read() as connection:
            return jobs.under_way(connection)

    def _advance(self, job: Job, state: RunState) -> None:
        if state.status not in ENDS:
            self._go_on(job, state)
        elif state.status != "FAILURE" or not self._is_repeated(job, state):
            self._end(job, state)

    def _go_on(self, job: Job, state: RunState) -> None:
        """Show how a job stands that has not ended."""
        if job.stop_asked_at is not None or state.status == "CANCELING":
            standing = Standing("stopping", job.message)
        else:
            standing = self._standings.of(job, state)
        is_known = state.started_at is None or job.started_at is not None
        if standing is None or (is_known and standing == (job.status, job.message)):
            return
        with self._platform.control.write() as connection:
            self._proceed(
                connection,
                job,
                standing.status,
                message=standing.message,
                started_at=state.started_at,
            )

    def _end(self, job: Job, state: RunState) -> None:
        """End a job whose dagster_run has ended."""
        self._standings.last_report(job, state)
        outcome = ending(job, ENDS[state.status], self._platform.events.outcome_of(state.run_id))
        # A dagster_run that is terminated may end as failed.
        if job.stop_asked_at is not None and outcome.status == "failed":
            outcome = outcome._replace(status="stopped", message=None)
        message = outcome.message
        if outcome.status == "stopped":
            if job.kind == "deploy":
                # Its driver may have been killed before it could.
                self._platform.runtime.stop(f"{job.project}.{job.name}", runs_of(job)[0])
            kept = reached(self._platform, job)
            # What it waited for is no reason for its end.
            reason = job.message if job.stop_asked_at is not None else ""
            message = "; ".join(filter(None, (reason, kept)))
        with self._platform.control.write() as connection:
            self._proceed(
                connection,
                job,
                outcome.status,
                # What stood in its way does so no more.
                message=message if message is not None or job.stop_asked_at else "",
                started_at=state.started_at,
                ended_at=state.ended_at,
                ran_s=outcome.ran_s,
                made=outcome.made,
                verdict=outcome.verdict,
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
        if changed is not None and changed.status != job.status:
            callbacks.owe(connection, changed, self._platform)

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


def _is_overdue(job: Job) -> bool:
    """Whether a job has run for longer than it may; engines keep their own limits."""
    longest = job.spec.get("max_seconds")
    if longest is None or job.kind in LIMITED_BY_ENGINE or job.started_at is None:
        return False
    return job.stop_asked_at is None and time.time() - job.started_at > longest
