"""Operations of the group jobs.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Mapping
from typing import Any, Literal

from orrery.answers.jobs import Job
from orrery.connection import Connection, Listing, Route


class JobsOperations:
    """Operations of the group jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        project: str | None = None,
        name: str | None = None,
        status: Literal[
            "queued", "starting", "waiting", "running", "stopping", "succeeded", "failed", "stopped"
        ]
        | None = None,
        kind: Literal["make", "train", "simulate", "deploy"] | None = None,
    ) -> Listing[Job]:
        """List jobs of every kind, newest first.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST,
            Job,
            {
                "cursor": cursor,
                "limit": limit,
                "project": project,
                "name": name,
                "status": status,
                "kind": kind,
            },
        )

    def get(self, id: str) -> Job:
        """Show a job of any kind: the handle that long work returns.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_GET, Job, {"id": id})

    def stop(self, id: str, *, idempotency_key: str | None = None) -> Job:
        """Stop a job, or delete an ended one; needs the right to start one of its kind.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_STOP, Job, {"id": id, "idempotency_key": idempotency_key})

    def resubmit(
        self, id: str, *, set: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> Job:
        """Submit a past job again with the values it had, or with some of them changed; needs
        the right to start one of its kind.

        set: Fields to change, each as its first request took it: `{"seed": 7}`, one value of
            a mapping as `{"hyperparameters.learning_rate": 1e-3}`, or several as
            `{"resources": {"workers": 2}}`. A training takes `hyperparameters`, `seed`,
            `resources` and `dataset_version`, a simulation `model_version`, a deployment
            `model_version`, `rollout` and `scale`, and every job `max_seconds` and
            `callback`. Null leaves the choice to the platform: `{"dataset_version": null}`
            learns from the newest version.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, BudgetExceeded, Capacity, another Refused, or Unreachable.
        """
        return self._connection.call(
            _RESUBMIT, Job, {"id": id, "set": set, "idempotency_key": idempotency_key}
        )


_LIST = Route(method="GET", path="/jobs", only_reads=True)
_GET = Route(method="GET", path="/jobs/{id}", only_reads=True)
_STOP = Route(method="DELETE", path="/jobs/{id}", headers={"idempotency_key": "Idempotency-Key"})
_RESUBMIT = Route(
    method="POST",
    path="/jobs/{id}/resubmit",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
