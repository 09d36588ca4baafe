"""Operations of the group datasets.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from orrery.answers.datasets import Dataset, DatasetVersion
from orrery.answers.jobs import Job
from orrery.connection import Connection, Listing, Route


class DatasetsOperations:
    """Operations of the group datasets."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self, *, cursor: str | None = None, limit: int = 50, project: str | None = None
    ) -> Listing[Dataset]:
        """List datasets and their newest versions.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST, Dataset, {"cursor": cursor, "limit": limit, "project": project}
        )

    def versions(
        self, project: str, dataset: str, *, cursor: str | None = None, limit: int = 50
    ) -> Listing[DatasetVersion]:
        """List the versions of a dataset, newest first.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.listing(
            _VERSIONS,
            DatasetVersion,
            {"project": project, "dataset": dataset, "cursor": cursor, "limit": limit},
        )

    def make(
        self,
        project: str,
        dataset: str,
        *,
        callback: str | None = None,
        max_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Read the source anew and check it; rows that have not changed make no new version.

        callback: Called once the job has ended.
        max_seconds: Time after which the job is stopped.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, BudgetExceeded, another Refused, or Unreachable.
        """
        return self._connection.call(
            _MAKE,
            Job,
            {
                "project": project,
                "dataset": dataset,
                "callback": callback,
                "max_seconds": max_seconds,
                "idempotency_key": idempotency_key,
            },
        )


_LIST = Route(method="GET", path="/datasets", only_reads=True)
_VERSIONS = Route(method="GET", path="/datasets/{project}/{dataset}/versions", only_reads=True)
_MAKE = Route(
    method="POST",
    path="/datasets/{project}/{dataset}/versions",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
