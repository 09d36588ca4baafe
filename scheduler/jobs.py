"""Jobs: one request each to train, simulate or deploy; the platform owes every one an end.

A job is `queued` from the moment its row is committed. A dispatcher claims it for a while, starts
its dagster_run (`starting`), and brings it to `succeeded`, `failed` or `stopped`; a claim whose
holder died lapses, and the next holder first looks for a dagster_run that was started already.
`waiting` is a job that was started and cannot work yet, or not for now: its message says why.
"""

import time
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, case, func, insert, or_, select, update

from resources.database.control import new_id
from scheduler import usage
from scheduler.states import ENDED, GOING, Kind, Status
from scheduler.tables import jobs

CLAIM_S = 30.0
RETRY_S = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


FAILURE = "failure"
"""Where `made` keeps why a job failed."""


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
    progress: dict[str, Any] | None = None
    """The newest report of its engine (engine.progress)."""
    ran_s: float | None = None
    """Seconds that its engine has worked, without waiting for a queue or a node."""
    made: dict[str, Any] | None = None
    """What came of it: model version, mlflow_run, artefact digest, dataset version."""
    verdict: str | None = None
    """What the gate says of what it measured: pass, fail or inconclusive."""
    on_behalf_of: str | None = None
    deleted_at: float | None = None

    @property
    def result(self) -> dict[str, Any]:
        """What came of it, without why it failed."""
        return {name: value for name, value in (self.made or {}).items() if name != FAILURE}

    @property
    def failure(self) -> dict[str, Any] | None:
        """Why it failed: `cause` and `lines`; None for a job that did not."""
        return (self.made or {}).get(FAILURE)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED


def create(  # noqa: PLR0913 - a request has so many parts
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
    on_behalf_of: str | None = None,
    held_s: float = 0.0,
) -> Job:
    """The new job, queued; it is due after so many seconds, or once `make_due` was called."""
    now = time.time()
    job = Job(
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
        due_at=now + held_s,
        on_behalf_of=on_behalf_of,
    )
    connection.execute(insert(jobs).values(job._asdict()))
    return job


_ONE = select(jobs).where(
    jobs.c.id == bindparam("job"),
    jobs.c.organization_id == bindparam("owner"),
    jobs.c.deleted_at.is_(None),
)
"""Made once: SQLAlchemy then finds what it has compiled at a glance."""


def find(connection: Connection, organization: str, job_id: str) -> Job | None:
    """The organization's job, or None."""
    row = connection.execute(_ONE, {"job": job_id, "owner": organization}).first()
    return Job(*row) if row else None


def not_ended(connection: Connection) -> list[Job]:
    """Jobs of all organizations that have not ended, whether they have a dagster_run or not."""
    query = select(jobs).where(jobs.c.status.in_(GOING))
    return [Job(*row) for row in connection.execute(query)]


def ask_to_stop(connection: Connection, job: Job, reason: str) -> Job:
    """The job, stopped when nothing was started for it yet, else stopping; ended ones stay."""
    now = time.time()
    c = jobs.c
    # A claimed job may have a dagster_run that is not recorded yet; the dispatcher stops that.
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
    current = find(connection, job.organization_id, job.id)
    assert current
    return current


def delete(connection: Connection, job: Job) -> None:
    """Take a job that has ended out of sight; budgets still count what it used."""
    c = jobs.c
    gone = update(jobs).where(c.id == job.id, c.status.in_(ENDED))
    connection.execute(gone.values(deleted_at=time.time()))


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
    due_jobs = [Job(*row) for row in connection.execute(due)]
    claimed = update(jobs).where(c.id.in_([job.id for job in due_jobs]))
    connection.execute(claimed.values(due_at=now + CLAIM_S, attempts=c.attempts + 1))
    # As they were before the claim: `put_off` chooses the pause by the number of earlier claims.
    return due_jobs


def renew_claim(connection: Connection, job_id: str) -> None:
    """Keep the claim on a job whose dagster_run is still being started."""
    c = jobs.c
    held = (c.id == job_id) & c.dagster_run_id.is_(None) & c.status.not_in(ENDED)
    connection.execute(update(jobs).where(held).values(due_at=time.time() + CLAIM_S))


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
    going = jobs.c.status.in_(GOING) & jobs.c.dagster_run_id.is_not(None)
    return [Job(*row) for row in connection.execute(select(jobs).where(going))]


def proceed(
    connection: Connection,
    job: Job,
    status: Status,
    *,
    message: str | None = None,
    started_at: float | None = None,
    ended_at: float | None = None,
    ran_s: float | None = None,
    made: dict[str, Any] | None = None,
    verdict: str | None = None,
) -> Job | None:
    """The job with its new status or message, or None when it had ended or was there already."""
    given = {
        "message": message,
        "started_at": started_at,
        "ran_s": ran_s,
        "made": made,
        "verdict": verdict,
    }
    values: dict[str, Any] = {
        "status": status,
        **{name: value for name, value in given.items() if value is not None},
    }
    if status in ENDED:
        values["ended_at"] = ended_at or time.time()
    news = [jobs.c.status != status]
    if message is not None:
        news.append(jobs.c.message != message)
    standing = [jobs.c.status.not_in(ENDED), or_(*news)]
    if status not in ENDED and status != "stopping":
        # Somebody may have stopped it since it was looked at.
        standing.append(jobs.c.stop_asked_at.is_(None))
    # Of two observers of an end only one changes the row, so a job is billed and reported once.
    changed = connection.execute(update(jobs).where(jobs.c.id == job.id, *standing).values(values))
    if not changed.rowcount:
        return None
    if status in ENDED and job.key_id:
        worked = select(func.coalesce(jobs.c.ran_s, 0.0)).where(jobs.c.id == job.id)
        usage.add(connection, job.key_id, job.gpus, connection.execute(worked).scalar_one())
    return job._replace(**values)


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
    query = select(jobs).where(alike).order_by(c.id.desc()).limit(limit)
    return [Job(*row) for row in connection.execute(query)]


def report(connection: Connection, job_id: str, progress: dict[str, Any]) -> None:
    """Keep the newest report of the job's engine."""
    c = jobs.c
    values: dict[str, Any] = {"progress": progress}
    if progress.get("ran_s") is not None:
        # What a job used is counted when it ends.
        values["ran_s"] = case((c.status.in_(ENDED), c.ran_s), else_=progress["ran_s"])
    connection.execute(update(jobs).where(c.id == job_id).values(values))


def make_due(connection: Connection, job_id: str) -> None:
    """Let a job that was held be started now."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(due_at=time.time()))
