"""Operations of the group services.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from orrery.answers.declared import RolloutFields, ScaleFields
from orrery.answers.inference import Prediction, Service
from orrery.answers.jobs import Job
from orrery.connection import Connection, Listing, Route


class ServicesOperations:
    """Operations of the group services."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def deploy(
        self,
        project: str,
        name: str,
        *,
        model: str | None = None,
        rollout: RolloutFields | None = None,
        scale: ScaleFields | None = None,
        model_version: int | None = None,
        max_seconds: float | None = None,
        callback: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Deploy a service: promote a model version that its evidence allows, and serve it.

        model: Model to serve; not needed for a declared service.
        model_version: Version to promote and serve, if its evidence passes the gate; by
            default the newest.
        max_seconds: Time after which the deployment is stopped.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _DEPLOY,
            Job,
            {
                "project": project,
                "name": name,
                "model": model,
                "rollout": rollout,
                "scale": scale,
                "model_version": model_version,
                "max_seconds": max_seconds,
                "callback": callback,
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
    ) -> Listing[Service]:
        """List services and what serves.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST, Service, {"cursor": cursor, "limit": limit, "project": project, "model": model}
        )

    def get(self, id: str) -> Service:
        """Show one service.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_GET, Service, {"id": id})

    def change(
        self,
        id: str,
        *,
        rollout: RolloutFields | None = None,
        scale: ScaleFields | None = None,
        model_version: int | None = None,
        max_seconds: float | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Change rollout, scale or model version of a service, and deploy it anew.

        model_version: Version to promote and serve; its evidence must pass the gate.
        max_seconds: Time after which the deployment is stopped.
        if_match: ETag of the service as it was read; a service changed since is not touched
            (412).
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, PreconditionFailed, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CHANGE,
            Job,
            {
                "id": id,
                "rollout": rollout,
                "scale": scale,
                "model_version": model_version,
                "max_seconds": max_seconds,
                "if_match": if_match,
                "idempotency_key": idempotency_key,
            },
        )

    def undeploy(self, id: str, *, idempotency_key: str | None = None) -> Service:
        """Stop serving; requests in progress are answered first.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _UNDEPLOY, Service, {"id": id, "idempotency_key": idempotency_key}
        )

    def predict(
        self,
        id: str,
        *,
        inputs: Sequence[Sequence[Any]] | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
    ) -> Prediction:
        """Ask a service for predictions.

        inputs: One list of values per row, in the order of the columns.
        rows: One object per row, by column name, where the model has columns.

        Raises NotFound, NotServing, UpstreamFailed, another Refused, or Unreachable.
        """
        return self._connection.call(
            _PREDICT, Prediction, {"id": id, "inputs": inputs, "rows": rows}
        )


_DEPLOY = Route(
    method="POST",
    path="/inference/services",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_LIST = Route(method="GET", path="/inference/services", only_reads=True)
_GET = Route(method="GET", path="/inference/services/{id}", only_reads=True)
_CHANGE = Route(
    method="PATCH",
    path="/inference/services/{id}",
    headers={"if_match": "If-Match", "idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_UNDEPLOY = Route(
    method="DELETE", path="/inference/services/{id}", headers={"idempotency_key": "Idempotency-Key"}
)
_PREDICT = Route(
    method="POST", path="/inference/services/{id}/predict", has_body=True, only_reads=True
)
