"""Operations of the group simulate.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Mapping
from typing import Any

from orrery.answers.declared import CriterionFields
from orrery.answers.jobs import Job
from orrery.answers.operation import Done
from orrery.answers.simulation import Simulation
from orrery.connection import Connection, Listing, Route


class SimulateOperations:
    """Operations of the group simulate."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        project: str,
        name: str,
        model: str,
        suite: str | Mapping[str, Any],
        *,
        gate: Mapping[str, CriterionFields] | None = None,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> Simulation:
        """Declare a simulation: scenarios for a model, and the gate over their results.

        suite: A shipped suite by its path, or a whole suite.
        gate: Criterion by metric; without one it only measures.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CREATE,
            Simulation,
            {
                "project": project,
                "name": name,
                "model": model,
                "suite": suite,
                "gate": gate,
                "description": description,
                "idempotency_key": idempotency_key,
            },
        )

    def list(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        project: str | None = None,
        model: str | None = None,
    ) -> Listing[Simulation]:
        """List simulations and their verdicts.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST,
            Simulation,
            {"cursor": cursor, "limit": limit, "project": project, "model": model},
        )

    def get(self, id: str) -> Simulation:
        """Show one simulation, with the evidence about the newest model version.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_GET, Simulation, {"id": id})

    def start(
        self,
        id: str,
        *,
        model_version: int | None = None,
        max_seconds: float | None = None,
        callback: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Run a simulation against a model version; answers at once with a handle to poll.

        model_version: By default the newest, fixed when the job is taken.
        max_seconds: Time after which the job is stopped.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, BudgetExceeded, Capacity, another Refused, or Unreachable.
        """
        return self._connection.call(
            _START,
            Job,
            {
                "id": id,
                "model_version": model_version,
                "max_seconds": max_seconds,
                "callback": callback,
                "idempotency_key": idempotency_key,
            },
        )

    def delete(self, id: str, *, idempotency_key: str | None = None) -> Done:
        """Remove a simulation from its project; the evidence it left is kept.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(_DELETE, Done, {"id": id, "idempotency_key": idempotency_key})


_CREATE = Route(
    method="POST",
    path="/simulation/environments",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_LIST = Route(method="GET", path="/simulation/environments", only_reads=True)
_GET = Route(method="GET", path="/simulation/environments/{id}", only_reads=True)
_START = Route(
    method="POST",
    path="/simulation/environments/{id}",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_DELETE = Route(
    method="DELETE",
    path="/simulation/environments/{id}",
    headers={"idempotency_key": "Idempotency-Key"},
)
