"""Operations of the group audit.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from datetime import datetime
from typing import Literal

from orrery.answers.audit import AuditEntry, AuditVerdict
from orrery.connection import Connection, Listing, Route


class AuditOperations:
    """Operations of the group audit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def search(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        actor: str | None = None,
        action: str | None = None,
        object: str | None = None,
        decision: Literal["allowed", "denied"] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Listing[AuditEntry]:
        """Search who did what, newest first.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _SEARCH,
            AuditEntry,
            {
                "cursor": cursor,
                "limit": limit,
                "actor": actor,
                "action": action,
                "object": object,
                "decision": decision,
                "since": since,
                "until": until,
            },
        )

    def verify(self) -> AuditVerdict:
        """Check that the audit was not changed after it was written.

        Raises Refused, or Unreachable.
        """
        return self._connection.call(_VERIFY, AuditVerdict, {})


_SEARCH = Route(method="GET", path="/audit", only_reads=True)
_VERIFY = Route(method="GET", path="/audit/verification", only_reads=True)
