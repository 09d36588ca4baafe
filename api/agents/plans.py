"""Plans of agents: each preview is an intention of its own, agreed to once, by the key that saw it,
within ten minutes."""

import hashlib
import secrets
import time

from sqlalchemy import Connection, delete, insert, select

from accounts.tables import plans
from api.context import Call
from api.problems import Problem

LIFE_S = 600.0
# Answers are kept as long (api.jobs.idempotency.REMEMBERED_S), and are found by their plan.
KEPT_S = 7 * 86_400.0


def keep(connection: Connection, call: Call, content: str) -> str:
    """Hash of the new plan, whose content has this digest."""
    now = time.time()
    connection.execute(delete(plans).where(plans.c.created_at < now - KEPT_S))
    digest = hashlib.sha256(f"{secrets.token_hex(32)}{content}".encode()).hexdigest()
    values = {
        "digest": digest,
        "principal": _who(call),
        "operation": call.operation,
        "content": content,
        "created_at": now,
    }
    connection.execute(insert(plans).values(values))
    return digest


def content_of(connection: Connection, call: Call, digest: str) -> tuple[str, bool]:
    """Digest of what the plan says, and whether it may still be agreed to.

    Raises the problem `stale-plan` for a plan of another operation or another key.
    """
    row = connection.execute(select(plans).where(plans.c.digest == digest)).first()
    if row is None or row.principal != _who(call) or row.operation != call.operation:
        raise Problem(
            "stale-plan",
            f"there is no plan {digest[:12]} of {call.operation} for this key",
            todo="Call without plan_hash, look at the preview, and call with its hash.",
        )
    return row.content, time.time() - row.created_at < LIFE_S


def _who(call: Call) -> str:
    principal = call.principal
    return f"{principal.organization}/{principal.user_id}/{principal.key_id or ''}"
