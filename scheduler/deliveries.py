"""Callbacks as owed: rows written with the change they tell of, until their receiver has them."""

import time
from collections.abc import Iterable
from typing import Literal, NamedTuple

from sqlalchemy import Connection, insert, select, update

from resources.database.control import new_id
from scheduler.tables import deliveries, jobs

State = Literal["owed", "delivered", "given_up"]
BACKOFF_S = (5, 30, 120, 600, 1_800, 7_200, 21_600, 43_200, 86_400)
"""Pauses between attempts, as Standard Webhooks advises; given up after the last."""
# Longer than one attempt (api.jobs.callbacks.TIMEOUT_S), so that no other sender claims the message
# in the meantime.
CLAIM_S = 60.0


class Delivery(NamedTuple):
    """One message to one address; its id is the same at every attempt."""

    id: str
    organization_id: str
    job_id: str
    url: str
    event: str
    body: str
    state: State
    attempts: int
    due_at: float
    last_status: int | None
    last_error: str
    created_at: float
    delivered_at: float | None


def owe(
    connection: Connection, organization: str, job_id: str, url: str, event: str, body: str
) -> Delivery | None:
    """The delivery, to be sent as soon as the transaction is committed; None for an event that the
    job was in before, and that was told."""
    c = deliveries.c
    told = select(c.id).where(
        c.organization_id == organization, c.job_id == job_id, c.event == event
    )
    if connection.execute(told.limit(1)).first():
        return None
    now = time.time()
    delivery = Delivery(
        new_id("msg"), organization, job_id, url, event, body, "owed", 0, now, None, "", now, None
    )
    connection.execute(insert(deliveries).values(delivery._asdict()))
    return delivery


def has_due(connection: Connection) -> bool:
    """Whether `claim` would find something."""
    c = deliveries.c
    due = select(c.id).where(c.state == "owed", c.due_at <= time.time()).limit(1)
    return connection.execute(due).first() is not None


def claim(connection: Connection, limit: int = 20) -> list[Delivery]:
    """Deliveries that are due, claimed for `CLAIM_S` seconds."""
    now = time.time()
    c = deliveries.c
    due = (
        select(deliveries)
        .where(c.state == "owed", c.due_at <= now)
        .order_by(c.due_at)
        .limit(limit)
        # On PostgreSQL several gateways claim different rows; SQLite has only one writer.
        .with_for_update(skip_locked=True)
    )
    claimed = [Delivery(*row) for row in connection.execute(due)]
    taken = update(deliveries).where(c.id.in_([d.id for d in claimed]))
    # Due again after the claim, so that a sender that dies does not lose the message.
    connection.execute(taken.values(due_at=now + CLAIM_S, attempts=c.attempts + 1))
    return [d._replace(attempts=d.attempts + 1) for d in claimed]


def settle(connection: Connection, delivery: Delivery, status: int | None, error: str) -> None:
    """Record how the attempt went; after a failure the next one is due after a longer pause."""
    now = time.time()
    values: dict[str, object] = {"last_status": status, "last_error": error[:1000]}
    if not error:
        values |= {"state": "delivered", "delivered_at": now}
    elif delivery.attempts > len(BACKOFF_S):
        values["state"] = "given_up"
    else:
        values["due_at"] = now + BACKOFF_S[delivery.attempts - 1]
    connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))


def replay(connection: Connection, delivery_id: str) -> None:
    """Send the message once more, now, under its old id."""
    values = {"state": "owed", "due_at": time.time(), "attempts": 0}
    connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(values))


def find(connection: Connection, organization: str, delivery_id: str) -> Delivery | None:
    """The organization's delivery, or None."""
    c = deliveries.c
    mine = (c.id == delivery_id) & (c.organization_id == organization)
    row = connection.execute(select(deliveries).where(mine)).first()
    return Delivery(*row) if row else None


def listed(
    connection: Connection,
    organization: str,
    *,
    job_id: str | None = None,
    projects: Iterable[str] | None = None,
    state: State | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[Delivery]:
    """The organization's deliveries, newest first."""
    c = deliveries.c
    query = select(deliveries).where(c.organization_id == organization)
    if job_id:
        query = query.where(c.job_id == job_id)
    if state:
        query = query.where(c.state == state)
    if projects is not None:
        seen = select(jobs.c.id).where(jobs.c.project.in_(list(projects)))
        query = query.where(c.job_id.in_(seen))
    if after:
        query = query.where(c.id < after)
    return [Delivery(*r) for r in connection.execute(query.order_by(c.id.desc()).limit(limit))]
