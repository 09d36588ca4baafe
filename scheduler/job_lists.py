"""Jobs of the past and present, as pages and as the newest of each part of a project."""

from collections.abc import Iterable

from sqlalchemy import Connection, and_, select

from scheduler.jobs import Job
from scheduler.states import Kind, Status
from scheduler.tables import jobs


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
    conditions = [c.organization_id == organization, c.deleted_at.is_(None)]
    for column, wanted in ((c.kind, kind), (c.status, status), (c.name, name)):
        if wanted is not None:
            conditions.append(column == wanted)
    if after:
        conditions.append(c.id < after)
    each = [None] if projects is None else list(projects)
    rows: list[Job] = []
    # One project a query: an index gives the newest of each, and none sorts the whole history.
    for project in each:
        narrowed = [*conditions, c.project == project] if project is not None else conditions
        query = select(jobs).where(and_(*narrowed)).order_by(c.id.desc()).limit(limit)
        rows += [Job(*row) for row in connection.execute(query)]
    return sorted(rows, key=lambda job: job.id, reverse=True)[:limit]


def newest(
    connection: Connection, organization: str, kind: Kind, project: str, name: str
) -> Job | None:
    """The newest job of that kind about one part of a project, which is not deleted."""
    c = jobs.c
    query = (
        select(jobs)
        .where(
            c.organization_id == organization,
            c.kind == kind,
            c.project == project,
            c.name == name,
            c.deleted_at.is_(None),
        )
        .order_by(c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return Job(*row) if row else None
