"""Logs of jobs as server-sent events: one reader per job, however many follow it.

The id of an event is `RUN.LINE`: which of the job's dagster_runs, and which line of its log. It
means the same while the job runs and years after, so a follower resumes wherever it was.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool

from api.context import Call
from api.executor import AWAY
from api.handlers.jobs import found_job, progress_view
from api.jobs.training_runs import runs_of
from api.operations.jobs import FollowLogs, LogLine
from resources.orchestration.events import MOST_LINES, Line
from scheduler.jobs import Job

POLL_S = 0.3
PATIENCE_S = 2.0
KEEP_ALIVE_S = 15.0
RETRY_MS = 2_000


class LogReader:
    """Reads the log of one job for all its followers: they share each look at the database."""

    def __init__(self, call: Call, job_id: str) -> None:
        self._call, self._job_id = call, job_id
        self._looking: asyncio.Task[Job] | None = None
        self._pages: dict[tuple[str, int], asyncio.Task[list[Line]]] = {}

    async def job(self) -> Job:
        """The job as it is now, or was at most `POLL_S` ago."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        # Shielded: a follower that leaves must not cancel a query for which others wait.
        return await asyncio.shield(self._looking)

    async def page(self, run_id: str, after: int) -> list[Line]:
        """Lines behind the number; followers at the same place share the answer."""
        place = (run_id, after)
        if place not in self._pages:
            self._pages[place] = asyncio.create_task(self._read(run_id, after))
            self._pages[place].add_done_callback(lambda _: self._pages.pop(place, None))
        return await asyncio.shield(self._pages[place])

    async def _look(self) -> Job:
        job = await run_in_threadpool(found_job, self._call, self._job_id)
        # The pause is part of the shared task, so all followers together query once in POLL_S.
        await asyncio.sleep(POLL_S)
        return job

    async def _read(self, run_id: str, after: int) -> list[Line]:
        return await run_in_threadpool(self._call.platform.events.lines, run_id, after)


class LogStreams:
    """Followers of logs, by job."""

    def __init__(self) -> None:
        self._readers: dict[str, tuple[LogReader, int]] = {}

    async def follow(self, call: Call, request: FollowLogs) -> AsyncIterator[bytes]:
        """Events of the job's log, from the asked place on. Raises `not-found`."""
        await run_in_threadpool(found_job, call, request.id)
        reader, followers = self._readers.get(request.id) or (LogReader(call, request.id), 0)
        self._readers[request.id] = (reader, followers + 1)
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            async for event in _events(reader, request):
                yield event
        finally:
            # Other followers may have come or gone in the meantime.
            reader, followers = self._readers[request.id]
            if followers <= 1:
                del self._readers[request.id]
            else:
                self._readers[request.id] = (reader, followers - 1)


async def _events(reader: LogReader, request: FollowLogs) -> AsyncIterator[bytes]:
    at_run, at_line = (int(p) for p in (request.last_event_id or "0.0").split("."))
    silent_s = 0.0
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        try:
            job = await reader.job()
            runs = runs_of(job)
            sent = 0
            for number in range(at_run, len(runs)):
                lines = await reader.page(runs[number], at_line)
                while lines:
                    for line in lines:
                        yield _event(f"{number}.{line.number}", line)
                    sent, at_run, at_line = sent + len(lines), number, lines[-1].number
                    full = len(lines) == MOST_LINES
                    lines = await reader.page(runs[number], at_line) if full else []
                if number + 1 < len(runs):
                    at_run, at_line = number + 1, 0
        except AWAY:
            sent = 0
            await asyncio.sleep(PATIENCE_S)
            job = None
        # The job was read before its lines, so if it has ended and no line was left, all is sent.
        if job is not None and not sent and (job.has_ended or not request.follow):
            yield _end(f"{at_run}.{at_line}", job)
            return
        silent_s = 0.0 if sent else silent_s + loop.time() - before
        if silent_s > KEEP_ALIVE_S:
            silent_s = 0.0
            yield b": still here\n\n"


def _event(id: str, line: Line) -> bytes:
    at = datetime.fromtimestamp(line.at, UTC)
    data = LogLine(
        at=at,
        kind=line.kind,  # type: ignore[arg-type]
        step=line.step,
        text=line.text,
        progress=progress_view(line.progress),
    )
    return f"id: {id}\nevent: line\ndata: {data.model_dump_json()}\n\n".encode()


def _end(id: str, job: Job) -> bytes:
    at = datetime.fromtimestamp(job.ended_at, UTC) if job.ended_at else datetime.now(UTC)
    text = f"{job.status}: {job.message}".rstrip(": ")
    line = LogLine(at=at, kind="end", step="", text=text)
    return f"id: {id}\nevent: end\ndata: {line.model_dump_json()}\n\n".encode()
