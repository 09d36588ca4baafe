"""Idempotency keys: the same request again gets the same answer, and does nothing.

A key is claimed before anything else happens (insert or read), so that of requests that race with
one key a single one is carried out and the others wait for its answer, on every database. What
creates a job completes the claim in the job's own transaction; a crash between the two is not
possible (as the draft "The Idempotency-Key HTTP Header Field" asks).
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from accounts.tables import answered
from api.context import Call
from api.operations.operation import Output
from api.problems import Problem

REMEMBERED_S = 7 * 86_400.0
CLAIMED_S = 120.0
"""Age of a claim without an answer at which its holder counts as dead."""
WAIT_S = 15.0
POLL_S = 0.05
PENDING = ""


@dataclass
class Claim:
    """The right to carry out the one request of a key."""

    principal: str
    operation: str
    key: str
    since: float
    is_complete: bool = field(default=False)

    def complete(self, connection: Connection, answer: dict[str, Any]) -> None:
        """Keep the answer, in the transaction of what it is about."""
        mine = _row(self.principal, self.operation, self.key)
        connection.execute(update(answered).where(mine).values(answer=json.dumps(answer)))
        self.is_complete = True


def once(
    call: Call,
    key: str,
    body: dict[str, Any],
    carry_out: Callable[[Call], Output],
    *,
    is_secret: bool = False,
) -> Output | dict[str, Any]:
    """What carrying out the request gives; for a key that was answered before, the kept answer.
    One that is secret is not kept.

    Raises the problems `conflict` when the key came with another request, and `unavailable` while
    the request is still being carried out.
    """
    claim = _claimed(call, key, body)
    if not isinstance(claim, Claim):
        return claim
    try:
        result = carry_out(replace(call, claim=claim))
    except BaseException:
        _give_up(call, claim)
        raise
    if not claim.is_complete:
        with call.platform.control.write() as connection:
            kept = {} if is_secret else {"output": result.model_dump(mode="json")}
            claim.complete(connection, kept)
    return result


def kept_answer(call: Call, key: str) -> dict[str, Any] | None:
    """The answer that the key was given before, or None."""
    with call.platform.control.read() as connection:
        query = select(answered.c.answer).where(_row(_who(call), call.operation, key))
        answer = connection.execute(query).scalar()
    return json.loads(answer) if answer else None


def _claimed(call: Call, key: str, body: dict[str, Any]) -> Claim | dict[str, Any]:
    end = time.monotonic() + WAIT_S
    while True:
        with call.platform.control.write() as connection:
            row = _insert_or_read(connection, call, key, _hash(body))
        if row is not None:
            return row
        if time.monotonic() > end:
            text = "a request with this idempotency key is still being carried out"
            raise Problem("unavailable", text, retry_after_s=2)
        # Outside the transaction, because the other request needs SQLite's write lock to finish.
        time.sleep(POLL_S)


def _insert_or_read(
    connection: Connection, call: Call, key: str, body_hash: str
) -> Claim | dict[str, Any] | None:
    """A new claim, the answer that is kept, or None while another request holds the claim."""
    now, who = time.time(), _who(call)
    claim = Claim(who, call.operation, key, now)
    values = {
        "principal": who,
        "operation": call.operation,
        "key": key,
        "body_hash": body_hash,
        "answer": PENDING,
        "created_at": now,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    inserting = dialect.insert(answered).values(values).on_conflict_do_nothing()
    if connection.execute(inserting.returning(answered.c.id)).first() is not None:
        connection.execute(delete(answered).where(answered.c.created_at < now - REMEMBERED_S))
        return claim
    query = select(answered).where(_row(who, call.operation, key))
    row = connection.execute(query).first()
    if row is None:
        return None  # It was given up between the two statements.
    if row.body_hash != body_hash:
        raise Problem(
            "conflict",
            "this idempotency key came with another request before",
            todo="Use a new key for a new request.",
        )
    if row.answer != PENDING:
        return json.loads(row.answer)
    if now - row.created_at < CLAIMED_S:
        return None
    # Compare and swap: of several requests that find a dead claim, one takes it over.
    taken_over = (
        update(answered)
        .where(_row(who, call.operation, key), answered.c.created_at == row.created_at)
        .values(created_at=now)
    )
    return claim if connection.execute(taken_over).rowcount else None


def _give_up(call: Call, claim: Claim) -> None:
    """Forget the claim of a request that was refused: the same key may come again."""
    if claim.is_complete:
        return
    mine = _row(claim.principal, claim.operation, claim.key)
    # Another request may have taken the claim over, which changes `created_at`.
    unanswered = (answered.c.answer == PENDING) & (answered.c.created_at == claim.since)
    with call.platform.control.write() as connection:
        connection.execute(delete(answered).where(mine, unanswered))


def _row(principal: str, operation: str, key: str) -> Any:
    c = answered.c
    return (c.principal == principal) & (c.operation == operation) & (c.key == key)


def _who(call: Call) -> str:
    return f"{call.principal.organization}/{call.principal.user_id}"


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()
