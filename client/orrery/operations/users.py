"""Operations of the group users.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from typing import Literal

from orrery.answers.accounts import SignInLink, User
from orrery.answers.operation import Done
from orrery.connection import Connection, Listing, Route


class UsersOperations:
    """Operations of the group users."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[User]:
        """List the members of your organization.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(_LIST, User, {"cursor": cursor, "limit": limit})

    def create(
        self,
        name: str,
        role: Literal["admin", "manager", "user", "viewer"],
        *,
        kind: Literal["person", "service"] = "person",
        email: str | None = None,
        idempotency_key: str | None = None,
    ) -> User:
        """Invite a person, or make a service account.

        email: Links the person to their sign-in, once the identity provider has verified it.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CREATE,
            User,
            {
                "name": name,
                "role": role,
                "kind": kind,
                "email": email,
                "idempotency_key": idempotency_key,
            },
        )

    def change(
        self,
        id: str,
        role: Literal["admin", "manager", "user", "viewer"],
        *,
        idempotency_key: str | None = None,
    ) -> User:
        """Give a member another role.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CHANGE, User, {"id": id, "role": role, "idempotency_key": idempotency_key}
        )

    def remove(self, id: str, *, idempotency_key: str | None = None) -> Done:
        """Remove a member; their keys and sessions end.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(_REMOVE, Done, {"id": id, "idempotency_key": idempotency_key})

    def sign_in_link(self, id: str, *, idempotency_key: str | None = None) -> SignInLink:
        """Make a one-time link that signs a member in.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _SIGN_IN_LINK, SignInLink, {"id": id, "idempotency_key": idempotency_key}
        )


_LIST = Route(method="GET", path="/users", only_reads=True)
_CREATE = Route(
    method="POST", path="/users", headers={"idempotency_key": "Idempotency-Key"}, has_body=True
)
_CHANGE = Route(
    method="PATCH",
    path="/users/{id}",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_REMOVE = Route(method="DELETE", path="/users/{id}", headers={"idempotency_key": "Idempotency-Key"})
_SIGN_IN_LINK = Route(
    method="POST", path="/users/{id}/sign-in-link", headers={"idempotency_key": "Idempotency-Key"}
)
