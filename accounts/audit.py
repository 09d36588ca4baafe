"""The audit: an append-only chain of who did what, on whose behalf, and why it was allowed.

Each entry holds the SHA-256 over its content and over the hash of the entry before it, so that
changing, removing or inserting one breaks every later one (Schneier and Kelsey, 1999). An entry
is written in the transaction of the change that it tells of.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, and_, func, insert, select

from accounts.tables import audit

Decision = Literal["allowed", "denied"]
START = "0" * 64
# The number is arbitrary, and differs from other advisory locks of this database, such as 7235114
# of the migrations.
POSTGRES_LOCK = 7_235_115
# Words match anywhere in a text, which no index supports, so each search is bounded.
WINDOW = 10_000
"""Entries that one search looks through."""
PAGE = 1_000


class AuditEntry(NamedTuple):
    """One decision."""

    number: int
    at: float
    organization_id: str | None
    actor: str
    on_behalf_of: str | None
    action: str
    object: str
    decision: Decision
    reason: str
    before: str | None
    """JSON."""
    after: str | None
    """JSON."""
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """The hash that this content and the entry before it demand."""
        content = json.dumps(self[:-1], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


class ChainBroken(Exception):
    """The audit was changed after it was written; says at which entry."""


class Chain(NamedTuple):
    """A chain that holds: keep both elsewhere to notice later if its end was cut off."""

    entries: int
    head: str


def record(
    connection: Connection,
    *,
    organization: str | None,
    actor: str,
    action: str,
    object: str,
    decision: Decision = "allowed",
    reason: str = "",
    on_behalf_of: str | None = None,
    before: Any = None,
    after: Any = None,
) -> AuditEntry:
    """The entry, appended within the caller's transaction."""
    if connection.dialect.name == "postgresql":
        # Two appends at once would continue the same entry.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({POSTGRES_LOCK})")
    last = connection.execute(
        select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1)
    ).first()
    draft = AuditEntry(
        number=last.number + 1 if last else 1,
        at=round(time.time(), 6),
        organization_id=organization,
        # PostgreSQL refuses text longer than its column, and the change would fail with its entry.
        actor=actor[:200],
        on_behalf_of=on_behalf_of[:200] if on_behalf_of else None,
        action=action,
        object=object[:300],
        decision=decision,
        reason=reason,
        before=_json(before),
        after=_json(after),
        previous=last.hash if last else START,
        hash="",
    )
    entry = draft._replace(hash=draft.computed_hash())
    connection.execute(insert(audit).values(entry._asdict()))
    return entry


class Found(NamedTuple):
    """Entries that match, and where to go on."""

    entries: list[AuditEntry]
    next: int | None
    """Number before which the search goes on; None where it has reached the first entry."""


def search(
    connection: Connection,
    organization: str,
    *,
    actor: str | None = None,
    action: str | None = None,
    object: str | None = None,
    decision: Decision | None = None,
    since: float | None = None,
    until: float | None = None,
    before_number: int | None = None,
    limit: int = 50,
) -> Found:
    """Entries of the organization that match, newest first; words match anywhere in the text.

    At most `WINDOW` entries are looked through, so that the cost does not grow with the audit.
    """
    c = audit.c
    own = [c.organization_id == organization]
    if before_number is not None:
        own.append(c.number < before_number)
    window = select(c.number).where(and_(*own)).order_by(c.number.desc())
    lowest = connection.execute(window.offset(WINDOW - 1).limit(1)).scalar()
    conditions = [*own, c.number >= lowest] if lowest is not None else own
    texts = ((c.actor, actor), (c.action, action), (c.object, object))
    conditions += [column.contains(text, autoescape=True) for column, text in texts if text]
    if decision:
        conditions.append(c.decision == decision)
    if since is not None:
        conditions.append(c.at >= since)
    if until is not None:
        conditions.append(c.at <= until)
    query = select(audit).where(and_(*conditions)).order_by(c.number.desc()).limit(limit + 1)
    entries = [AuditEntry(*row) for row in connection.execute(query)]
    if len(entries) > limit:
        return Found(entries[:limit], entries[limit - 1].number)
    return Found(entries, lowest)


def verify(connection: Connection) -> Chain:
    """The chain, checked from its first entry. Raises ChainBroken."""
    previous, expected = START, 1
    for entry in _all(connection):
        if entry.number != expected:
            raise ChainBroken(f"entry {expected} is missing; the next one is {entry.number}")
        if entry.previous != previous:
            raise ChainBroken(f"entry {entry.number} does not follow entry {entry.number - 1}")
        if entry.computed_hash() != entry.hash:
            raise ChainBroken(f"entry {entry.number} was changed: its hash does not fit it")
        previous, expected = entry.hash, expected + 1
    return Chain(expected - 1, previous)


def _all(connection: Connection) -> Iterator[AuditEntry]:
    last = connection.execute(select(func.max(audit.c.number))).scalar() or 0
    for start in range(0, last + 1, PAGE):
        page = select(audit).where(audit.c.number > start).order_by(audit.c.number).limit(PAGE)
        yield from (
            AuditEntry(*row)
            for row in connection.execute(page.where(audit.c.number <= start + PAGE))
        )


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=str)
