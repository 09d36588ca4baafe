"""Operations of the group keys.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Sequence
from typing import Literal

from orrery.answers.keys import ApiKey, NewApiKey
from orrery.connection import Connection, Listing, Route


class KeysOperations:
    """Operations of the group keys."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[ApiKey]:
        """List API keys: your own, or all of the organization if you manage it.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(_LIST, ApiKey, {"cursor": cursor, "limit": limit})

    def create(
        self,
        name: str,
        *,
        role: Literal["admin", "manager", "user", "viewer"] = "viewer",
        user_id: str | None = None,
        projects: Sequence[str] | None = None,
        agents_may_change: bool = False,
        expires_in_days: float | None = 90,
        budget_gpu_h: float | None = None,
        budget_money: float | None = None,
        idempotency_key: str | None = None,
    ) -> NewApiKey:
        """Make an API key; it is shown once.

        user_id: Holder of the key, such as a service account; by default the caller.
        projects: Projects it is confined to; by default all of the organization.
        agents_may_change: Whether agent tools called with it may change anything; by default
            they only read.
        expires_in_days: Null for a key that does not expire.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CREATE,
            NewApiKey,
            {
                "name": name,
                "role": role,
                "user_id": user_id,
                "projects": projects,
                "agents_may_change": agents_may_change,
                "expires_in_days": expires_in_days,
                "budget_gpu_h": budget_gpu_h,
                "budget_money": budget_money,
                "idempotency_key": idempotency_key,
            },
        )

    def revoke(self, id: str, *, idempotency_key: str | None = None) -> ApiKey:
        """End an API key now.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _REVOKE, ApiKey, {"id": id, "idempotency_key": idempotency_key}
        )


_LIST = Route(method="GET", path="/keys", only_reads=True)
_CREATE = Route(
    method="POST",
    path="/keys",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
    nulls=("expires_in_days",),
)
_REVOKE = Route(method="DELETE", path="/keys/{id}", headers={"idempotency_key": "Idempotency-Key"})
