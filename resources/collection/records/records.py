"""Records of collections: what is asked for, how far it is, and which process works on it.

A process that works renews its record; where it has not for `LAPSE_S`, it has ended, and another
takes the work up.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from resources.collection.item import State
from resources.collection.records import entries
from resources.collection.records.entries import Entry
from resources.collection.records.tables import collections
from resources.database.control import new_id

WORKING: tuple[State, ...] = ("planning", "removing")
RENEWED_EVERY_S = 5.0
LAPSE_S = 30.0
MOST_ATTEMPTS = 3
KEPT_S = 90 * 86_400.0
"""How long records are kept."""


class Record(NamedTuple):
    """One collection."""

    id: str
    organization_id: str | None
    """Whose projects it is of; None for those of all."""
    project: str | None
    """The one that it is of, as Dagster names it; None for all."""
    asked_by: str
    state: State
    message: str
    attempts: int
    created_at: float
    renewed_at: float
    """When a process that works on it last said so; 0 where none has begun."""
    planned_at: float | None
    began_at: float | None
    """When the removal began."""
    ended_at: float | None


def create(
    connection: Connection,
    asked_by: str,
    *,
    organization: str | None = None,
    project: str | None = None,
    is_mine: bool = False,
) -> Record:
    """A new record whose plan is still to be made: by whoever claims it, or by the caller."""
    now = time.time()
    _forget_older_than(connection, now - KEPT_S)
    begun = now if is_mine else 0.0
    record = Record(
        *(new_id("gc"), organization, project, asked_by[:200], "planning"),
        *("", int(is_mine), now, begun, None, None, None),
    )
    connection.execute(insert(collections).values(record._asdict()))
    return record


def find(connection: Connection, id: str, organization: str | None = None) -> Record | None:
    """The collection, if it concerns the organization where one is named."""
    wanted = [collections.c.id == id]
    if organization is not None:
        wanted.append(_concerns(organization))
    row = connection.execute(select(collections).where(*wanted)).first()
    return Record(*row) if row else None


def listed(
    connection: Connection, organization: str, before: str | None, limit: int
) -> list[Record]:
    """Collections that concern the organization, newest first, below the id where one is given."""
    wanted = [_concerns(organization)]
    if before is not None:
        wanted.append(collections.c.id < before)
    query = select(collections).where(*wanted).order_by(collections.c.id.desc()).limit(limit)
    return [Record(*row) for row in connection.execute(query)]


def under_way(connection: Connection, organization: str) -> Record | None:
    """A collection of the organization that is planned or carried out at this moment."""
    c = collections.c
    query = select(collections).where(c.organization_id == organization, c.state.in_(WORKING))
    row = connection.execute(query.limit(1)).first()
    return Record(*row) if row else None


def has_due(connection: Connection) -> bool:
    """Whether `claim` would find something."""
    return connection.execute(select(collections.c.id).where(_due()).limit(1)).first() is not None


def _due() -> ColumnElement[bool]:
    c = collections.c
    return and_(c.state.in_(WORKING), c.renewed_at < time.time() - LAPSE_S)


def claim(connection: Connection) -> Record | None:
    """The oldest collection that nobody works on, for the caller; it is to renew it."""
    c, now = collections.c, time.time()
    # On PostgreSQL several gateways claim different rows; SQLite has only one writer.
    query = select(collections).where(_due()).order_by(c.id).limit(1)
    row = connection.execute(query.with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    record = Record(*row)
    if record.attempts >= MOST_ATTEMPTS:
        last = f"; the last said: {record.message}" if record.message else ""
        end(connection, record.id, f"{record.attempts} processes ended before it was done{last}")
        return None
    values = {"renewed_at": now, "attempts": record.attempts + 1}
    connection.execute(update(collections).where(c.id == record.id).values(values))
    return record._replace(renewed_at=now, attempts=record.attempts + 1)


def renew(connection: Connection, id: str) -> None:
    """Say that a process works on it."""
    _change(connection, id, WORKING, renewed_at=time.time())


def tell(connection: Connection, id: str, message: str) -> None:
    """Say why it stands still."""
    _change(connection, id, WORKING, message=message)


def wait(connection: Connection, id: str, message: str) -> None:
    """Let it be claimed again in a while; the attempt does not count."""
    attempts = collections.c.attempts - 1
    _change(connection, id, WORKING, renewed_at=time.time(), message=message, attempts=attempts)


def plan(connection: Connection, id: str, planned: Sequence[Entry]) -> bool:
    """Whether the record has this plan now: not where another process has made one."""
    values = {"state": "planned", "planned_at": time.time(), "message": "", "attempts": 0}
    if not _change(connection, id, ("planning",), **values):
        return False
    entries.put(connection, id, planned)
    return True


def begin(connection: Connection, id: str, *, is_mine: bool = False) -> bool:
    """Whether the removal may begin: by whoever claims it, or by the caller."""
    now = time.time()
    values = {"state": "removing", "began_at": now, "renewed_at": now if is_mine else 0.0}
    return _change(connection, id, ("planned",), attempts=int(is_mine), **values)


def end(connection: Connection, id: str, failure: str = "") -> None:
    """The collection is over: well, or with a failure."""
    state = "failed" if failure else "done"
    ended = {"state": state, "message": failure, "ended_at": time.time()}
    _change(connection, id, ("planning", "planned", "removing"), **ended)


def _change(connection: Connection, id: str, states: Sequence[State], **values: object) -> bool:
    mine = and_(collections.c.id == id, collections.c.state.in_(states))
    return bool(connection.execute(update(collections).where(mine).values(values)).rowcount)


def _concerns(organization: str) -> ColumnElement[bool]:
    c = collections.c.organization_id
    return or_(c == organization, c.is_(None))


def _forget_older_than(connection: Connection, at: float) -> None:
    c = collections.c
    old = and_(c.created_at < at, c.state.not_in(WORKING))
    ids = list(connection.execute(select(c.id).where(old)).scalars())
    if ids:
        entries.forget(connection, ids)
        connection.execute(delete(collections).where(c.id.in_(ids)))
