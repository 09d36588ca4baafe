"""Operations of the group collections.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from typing import Literal

from orrery.answers.collection import Collection, Entry
from orrery.connection import Connection, Listing, Route


class CollectionsOperations:
    """Operations of the group collections."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def plan(self, *, project: str | None = None, idempotency_key: str | None = None) -> Collection:
        """Plan what the declared retention does not keep any more; removes nothing, and answers
        at once with a handle.

        project: One project alone; by default all of yours, and what belongs to none.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _PLAN, Collection, {"project": project, "idempotency_key": idempotency_key}
        )

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[Collection]:
        """List what was planned and removed, newest first.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(_LIST, Collection, {"cursor": cursor, "limit": limit})

    def get(self, id: str) -> Collection:
        """Show how far a collection is, with the number and bytes of what goes and stays.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_GET, Collection, {"id": id})

    def entries(
        self,
        id: str,
        *,
        cursor: str | None = None,
        limit: int = 50,
        outcome: Literal["chosen", "removed", "kept", "failed"] | None = None,
        kind: Literal[
            "model version",
            "evidence",
            "simulation results",
            "artefact",
            "MLflow's copy",
            "Bento",
            "checkpoint",
            "dataset version",
            "data file",
            "dagster_run",
            "run file",
            "log",
            "work folder",
        ]
        | None = None,
        project: str | None = None,
    ) -> Listing[Entry]:
        """List each thing that a collection has chosen, and what stays and why.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.
        kind: Such as `dagster_run`, `checkpoint` or `dataset version`.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.listing(
            _ENTRIES,
            Entry,
            {
                "id": id,
                "cursor": cursor,
                "limit": limit,
                "outcome": outcome,
                "kind": kind,
                "project": project,
            },
        )

    def run(self, id: str, *, idempotency_key: str | None = None) -> Collection:
        """Remove what a collection has chosen, and is still not needed; it cannot be undone.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _RUN, Collection, {"id": id, "idempotency_key": idempotency_key}
        )


_PLAN = Route(
    method="POST",
    path="/collections",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_LIST = Route(method="GET", path="/collections", only_reads=True)
_GET = Route(method="GET", path="/collections/{id}", only_reads=True)
_ENTRIES = Route(method="GET", path="/collections/{id}/entries", only_reads=True)
_RUN = Route(
    method="POST", path="/collections/{id}/run", headers={"idempotency_key": "Idempotency-Key"}
)
