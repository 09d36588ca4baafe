"""Jobs: one request each to train, simulate or release; the platform owes every one an end.

A job is `queued` from the moment its row is committed. A dispatcher claims it for a while, starts
its dagster_run, and brings it to `succeeded`, `failed` or `stopped`; a claim whose holder died
lapses, and the next holder first looks for a dagster_run that was started already.
"""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, case, func, insert, select, update

from resources.control import new_id
from scheduler.states import ENDED, Kind, Status
from scheduler.tables import jobs

CLAIM_S = 30.0
RETRY_S = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


class Job(NamedTuple):
    """One request and how far it is."""

    id: str
    organization_id: str
    project: str
    kind: Kind
    name: str
    """The model, simulation or service it is about."""
    status: Status
    message: str
    spec: dict[str, Any]
    """Everything the job was asked, with every reference resolved."""
    created_by: str
    key_id: str | None
    callback: str | None
    gpus: int
    expected_s: float | None
    """Upper end of the estimate that it was admitted with."""
    created_at: float
    started_at: float | None
    ended_at: float | None
    stop_asked_at: float | None
    dagster_run_id: str | None
    attempts: int
    """How often its dagster_run was asked for."""
    due_at: float

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    def gpu_hours(self, now: float) -> float:
        """GPU-hours it has used so far."""
        if self.started_at is None:
            return 0.0
        return self.gpus * ((self.ended_at or now) - self.started_at) / 3600


def create(
    connection: Connection,
    *,
    organization: str,
    project: str,
    kind: Kind,
    name: str,
    spec: dict[str, Any],
    created_by: str,
    key_id: str | None,
    callback: str | None = None,
    gpus: int = 0,
    expected_s: float | None = None,
) -> Job:
    """The new job, queued."""
    now = time.time()
    made = Job(
        id=new_id("job"),
        organization_id=organization,
        project=project,
        kind=kind,
        name=name,
        status="queued",
        message="",
        spec=spec,
        created_by=created_by,
        key_id=key_id,
        callback=callback,
        gpus=gpus,
        expected_s=expected_s,
        created_at=now,
        started_at=None,
        ended_at=None,
        stop_asked_at=None,
        dagster_run_id=None,
        attempts=0,
        due_at=now,
    )
    connection.execute(insert(jobs).values(made._asdict()))
    return made


_ONE = select(jobs).where(
    jobs.c.id == bindparam("job"), jobs.c.organization_id == bindparam("owner")
)
"""Made once: SQLAlchemy then finds what it has compiled at a glance."""


def find(connection: Connection, organization: str, job_id: str) -> Job | None:
    """The organization's job, or None."""
    row = connection.execute(_ONE, {"job": job_id, "owner": organization}).first()
    return Job(*row) if row else None


def listed(
    connection: Connection,
    organization: str,
    *,
    kind: Kind | None = None,
    status: Status | None = None,
    projects: Iterable[str] | None = None,
    name: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[Job]:
    """Jobs of the organization that match, newest first, older than the job `after`."""
    c = jobs.c
    conditions = [c.organization_id == organization]
    for column, wanted in ((c.kind, kind), (c.status, status), (c.name, name)):
        if wanted is not None:
            conditions.append(column == wanted)
    if projects is not None:
        conditions.append(c.project.in_(list(projects)))
    if after:
        conditions.append(c.id < after)
    found = select(jobs).where(and_(*conditions)).order_by(c.id.desc()).limit(limit)
    return [Job(*row) for row in connection.execute(found)]


def ask_to_stop(connection: Connection, job: Job, reason: str) -> Job:
    """The job, stopped when nothing was started for it yet, else stopping; ended ones stay."""
    now = time.time()
    c = jobs.c
    untouched = (c.status == "queued") & (c.attempts == 0)
    changed = (
        update(jobs)
        .where(c.id == job.id, c.status.not_in(ENDED), c.stop_asked_at.is_(None))
        .values(
            stop_asked_at=now,
            due_at=now,
            message=reason,
            ended_at=case((untouched, now), else_=c.ended_at),
            status=case((untouched, "stopped"), else_="stopping"),
        )
    )
    connection.execute(changed)
    found = find(connection, job.organization_id, job.id)
    assert found
    return found


def has_due(connection: Connection) -> bool:
    """Whether `claim` would find something."""
    c = jobs.c
    waiting = c.status.in_(("queued", "stopping")) & c.dagster_run_id.is_(None)
    due = select(c.id).where(waiting, c.due_at <= time.time()).limit(1)
    return connection.execute(due).first() is not None


def claim(connection: Connection, limit: int) -> list[Job]:
    """Jobs that are due and have no dagster_run yet, claimed for `CLAIM_S` seconds."""
    now = time.time()
    c = jobs.c
    due = (
        select(jobs)
        .where(c.status.in_(("queued", "stopping")), c.dagster_run_id.is_(None), c.due_at <= now)
        .order_by(c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = [Job(*row) for row in connection.execute(due)]
    claimed = update(jobs).where(c.id.in_([job.id for job in found]))
    connection.execute(claimed.values(due_at=now + CLAIM_S, attempts=c.attempts + 1))
    return found


def put_off(connection: Connection, job: Job, reason: str) -> None:
    """Try the job again after a pause that grows with its attempts."""
    pause_s = RETRY_S[min(job.attempts, len(RETRY_S) - 1)]
    connection.execute(
        update(jobs).where(jobs.c.id == job.id).values(due_at=time.time() + pause_s, message=reason)
    )


def launched(connection: Connection, job_id: str, run_id: str) -> None:
    """Remember the dagster_run of the job."""
    c = jobs.c
    status = case((c.status == "queued", "starting"), else_=c.status)
    changed = update(jobs).where(c.id == job_id, c.dagster_run_id.is_(None))
    connection.execute(changed.values(dagster_run_id=run_id, status=status))


def retried(connection: Connection, job: Job, run_id: str) -> None:
    """Follow the dagster_run that repeats the one before; the first stays known in the spec."""
    runs = [*job.spec.get("dagster_runs", [job.dagster_run_id]), run_id]
    changed = {"dagster_run_id": run_id, "spec": {**job.spec, "dagster_runs": runs}}
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(changed))


def under_way(connection: Connection) -> list[Job]:
    """Jobs whose dagster_run has not ended, as far as is known."""
    going = jobs.c.status.not_in(ENDED) & jobs.c.dagster_run_id.is_not(None)
    return [Job(*row) for row in connection.execute(select(jobs).where(going))]


def proceed(
    connection: Connection,
    job: Job,
    status: Status,
    *,
    message: str | None = None,
    started_at: float | None = None,
    ended_at: float | None = None,
) -> Job | None:
    """The job with its new status, or None when it had ended or was there already."""
    values: dict[str, Any] = {"status": status}
    if message is not None:
        values["message"] = message
    if started_at is not None:
        values["started_at"] = started_at
    if status in ENDED:
        values["ended_at"] = ended_at or time.time()
    changed = connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.status.not_in(ENDED), jobs.c.status != status)
        .values(values)
    )
    return job._replace(**values) if changed.rowcount else None


def succeeded_like(
    connection: Connection, organization: str, kind: Kind, project: str, name: str, limit: int = 50
) -> list[Job]:
    """The newest jobs about the same thing that ended well."""
    c = jobs.c
    alike = and_(
        c.organization_id == organization,
        c.kind == kind,
        c.project == project,
        c.name == name,
        c.status == "succeeded",
        c.started_at.is_not(None),
    )
    found = select(jobs).where(alike).order_by(c.id.desc()).limit(limit)
    return [Job(*row) for row in connection.execute(found)]


def used_gpu_h(connection: Connection, key_id: str) -> float:
    """GPU-hours that jobs of the key have used, and those under way are still expected to."""
    c = jobs.c
    now = time.time()
    end = case((c.status.in_(ENDED), func.coalesce(c.ended_at, c.started_at)), else_=now)
    so_far = func.coalesce(end - c.started_at, 0.0)
    expected = case((c.status.in_(ENDED), 0.0), else_=func.coalesce(c.expected_s, 0.0))
    longest = case((so_far > expected, so_far), else_=expected)
    total = select(func.sum(c.gpus * longest)).where(c.key_id == key_id)
    return (connection.execute(total).scalar() or 0.0) / 3600


def used_process_h(connection: Connection, key_id: str) -> float:
    """Hours that jobs of the key have run."""
    c = jobs.c
    ran = func.coalesce(c.ended_at, time.time()) - c.started_at
    total = select(func.sum(ran)).where(c.key_id == key_id, c.started_at.is_not(None))
    return (connection.execute(total).scalar() or 0.0) / 3600
