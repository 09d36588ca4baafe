"""Idempotency keys: the same request again gets the same answer, and does nothing.

A key is remembered per caller and operation, in the transaction of what it guards; so a crash
between the two is not possible (as the draft "The Idempotency-Key HTTP Header Field" asks).
"""

import hashlib
import json
import time
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from accounts.tables import answered
from api.platform import Call
from api.problems import Problem

REMEMBERED_S = 7 * 86_400.0


def answered_before(
    connection: Connection, call: Call, key: str, asked: dict[str, Any]
) -> dict[str, Any] | None:
    """What the request was answered before, or None.

    Raises the problem `conflict` when the key came with another request.
    """
    c = answered.c
    same = select(c.body_hash, c.answer).where(
        c.principal == _who(call), c.operation == call.operation, c.key == key
    )
    row = connection.execute(same).first()
    if row is None:
        return None
    if row.body_hash != _hash(asked):
        raise Problem(
            "conflict",
            "this idempotency key came with another request before",
            todo="Use a new key for a new request.",
        )
    return json.loads(row.answer)


def remember(
    connection: Connection, call: Call, key: str, asked: dict[str, Any], answer: dict[str, Any]
) -> None:
    """Keep the answer for the next time; what is older than a week is forgotten."""
    now = time.time()
    connection.execute(delete(answered).where(answered.c.created_at < now - REMEMBERED_S))
    values = {
        "principal": _who(call),
        "operation": call.operation,
        "key": key,
        "body_hash": _hash(asked),
        "answer": json.dumps(answer),
        "created_at": now,
    }
    connection.execute(insert(answered).values(values))


def _who(call: Call) -> str:
    return f"{call.principal.organization}/{call.principal.user_id}"


def _hash(asked: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
