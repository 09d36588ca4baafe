"""Operations of the group organizations.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from orrery.answers.accounts import CallbackSecret, NewOrganization, Organization
from orrery.connection import Connection, Listing, Route


class OrganizationsOperations:
    """Operations of the group organizations."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[Organization]:
        """List the organizations you belong to.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(_LIST, Organization, {"cursor": cursor, "limit": limit})

    def create(self, id: str, name: str, *, idempotency_key: str | None = None) -> NewOrganization:
        """Create an organization, whose first admin you are; its admin key is shown once.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CREATE, NewOrganization, {"id": id, "name": name, "idempotency_key": idempotency_key}
        )

    def rotate_callback_secret(self, *, idempotency_key: str | None = None) -> CallbackSecret:
        """Make a new secret that your organization's callbacks are signed with.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _ROTATE_CALLBACK_SECRET, CallbackSecret, {"idempotency_key": idempotency_key}
        )


_LIST = Route(method="GET", path="/organizations", only_reads=True)
_CREATE = Route(
    method="POST",
    path="/organizations",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_ROTATE_CALLBACK_SECRET = Route(
    method="POST",
    path="/organizations/callback-secret",
    headers={"idempotency_key": "Idempotency-Key"},
)
