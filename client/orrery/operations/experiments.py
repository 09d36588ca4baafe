"""Operations of the group experiments.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Mapping
from typing import Literal

from orrery.answers.experiments import Experiment
from orrery.answers.runs import Run
from orrery.connection import Connection, Listing, Route


class ExperimentsOperations:
    """Operations of the group experiments."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self, *, cursor: str | None = None, limit: int = 50, project: str | None = None
    ) -> Listing[Experiment]:
        """List experiments.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST, Experiment, {"cursor": cursor, "limit": limit, "project": project}
        )

    def create(self, project: str, name: str, *, idempotency_key: str | None = None) -> Experiment:
        """Create an experiment in a project.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CREATE,
            Experiment,
            {"project": project, "name": name, "idempotency_key": idempotency_key},
        )

    def runs(
        self,
        id: str,
        *,
        cursor: str | None = None,
        limit: int = 50,
        status: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"] | None = None,
        order_by: str | None = None,
        ascending: bool = False,
    ) -> Listing[Run]:
        """List the runs of an experiment, newest or best first.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.
        order_by: Metric whose best value comes first; by default the newest run comes first.
        ascending: Whether a smaller metric is better.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.listing(
            _RUNS,
            Run,
            {
                "id": id,
                "cursor": cursor,
                "limit": limit,
                "status": status,
                "order_by": order_by,
                "ascending": ascending,
            },
        )

    def start_run(
        self,
        id: str,
        name: str,
        *,
        parameters: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a run to log metrics to.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _START_RUN,
            Run,
            {"id": id, "name": name, "parameters": parameters, "idempotency_key": idempotency_key},
        )


_LIST = Route(method="GET", path="/experiments", only_reads=True)
_CREATE = Route(
    method="POST",
    path="/experiments",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_RUNS = Route(method="GET", path="/experiments/{id}/runs", only_reads=True)
_START_RUN = Route(
    method="POST",
    path="/experiments/{id}/runs",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
