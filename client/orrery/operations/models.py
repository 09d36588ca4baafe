"""Operations of the group models.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from orrery.answers.catalog import Model, ModelVersion
from orrery.answers.jobs import Job
from orrery.answers.simulation import AllEvidence
from orrery.connection import Connection, Listing, Route


class ModelsOperations:
    """Operations of the group models."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def evidence(self, project: str, model: str, version: int) -> AllEvidence:
        """Show what every simulation measured about a model version, and the gate's verdict.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _EVIDENCE, AllEvidence, {"project": project, "model": model, "version": version}
        )

    def register(
        self,
        project: str,
        model: str,
        address: str,
        *,
        callback: str | None = None,
        max_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Register a finished model as the next version; answers at once with a handle.

        model: A model that is declared with `from:`.
        address: A file or folder, `s3://BUCKET/KEY`, `mlflow:models:/NAME/VERSION` or
            `hf:OWNER/NAME[@REVISION][:FILE]`.
        callback: URL that gets a signed message when the job starts and when it ends.
        max_seconds: Time after which the job is stopped.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, BudgetExceeded, Capacity, another Refused, or Unreachable.
        """
        return self._connection.call(
            _REGISTER,
            Job,
            {
                "project": project,
                "model": model,
                "address": address,
                "callback": callback,
                "max_seconds": max_seconds,
                "idempotency_key": idempotency_key,
            },
        )

    def list(
        self, *, cursor: str | None = None, limit: int = 50, project: str | None = None
    ) -> Listing[Model]:
        """List models, with their newest and their champion version.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST, Model, {"cursor": cursor, "limit": limit, "project": project}
        )

    def get(self, project: str, model: str) -> Model:
        """Show one model.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_GET, Model, {"project": project, "model": model})

    def versions(
        self, project: str, model: str, *, cursor: str | None = None, limit: int = 50
    ) -> Listing[ModelVersion]:
        """List the versions of a model, newest first.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.listing(
            _VERSIONS,
            ModelVersion,
            {"project": project, "model": model, "cursor": cursor, "limit": limit},
        )


_EVIDENCE = Route(
    method="GET", path="/models/{project}/{model}/versions/{version}/evidence", only_reads=True
)
_REGISTER = Route(
    method="POST",
    path="/models/{project}/{model}/versions",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_LIST = Route(method="GET", path="/models", only_reads=True)
_GET = Route(method="GET", path="/models/{project}/{model}", only_reads=True)
_VERSIONS = Route(method="GET", path="/models/{project}/{model}/versions", only_reads=True)
