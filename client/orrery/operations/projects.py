"""Operations of the group projects.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Mapping
from typing import Any

from orrery.answers.catalog import Project, ProjectSummary
from orrery.answers.operation import Done
from orrery.connection import Connection, Listing, Route


class ProjectsOperations:
    """Operations of the group projects."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[ProjectSummary]:
        """List projects.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(_LIST, ProjectSummary, {"cursor": cursor, "limit": limit})

    def create(
        self, declaration: Mapping[str, Any] | str, *, idempotency_key: str | None = None
    ) -> Project:
        """Create a project from its declaration; its assets appear in Dagster at once.

        declaration: The declaration as JSON, or as the text of a YAML file.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CREATE, Project, {"declaration": declaration, "idempotency_key": idempotency_key}
        )

    def get(self, project: str) -> Project:
        """Show one project and its declaration.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_GET, Project, {"project": project})

    def replace(
        self,
        project: str,
        declaration: Mapping[str, Any] | str,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Project:
        """Replace the declaration of a project that was created through the API.

        if_match: ETag of the project as it was read; a project changed since is not touched
            (412).
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, PreconditionFailed, another Refused, or Unreachable.
        """
        return self._connection.call(
            _REPLACE,
            Project,
            {
                "project": project,
                "declaration": declaration,
                "if_match": if_match,
                "idempotency_key": idempotency_key,
            },
        )

    def delete(
        self, project: str, *, purge: bool = False, idempotency_key: str | None = None
    ) -> Done:
        """Remove a project that was created through the API; what it made is kept, or purged.

        purge: Whether to end everything that it made too: services, model versions, dataset
            versions, evidence and runs. It also ends what a project left whose file is gone.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _DELETE, Done, {"project": project, "purge": purge, "idempotency_key": idempotency_key}
        )


_LIST = Route(method="GET", path="/projects", only_reads=True)
_CREATE = Route(
    method="POST", path="/projects", headers={"idempotency_key": "Idempotency-Key"}, has_body=True
)
_GET = Route(method="GET", path="/projects/{project}", only_reads=True)
_REPLACE = Route(
    method="PUT",
    path="/projects/{project}",
    headers={"if_match": "If-Match", "idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_DELETE = Route(
    method="DELETE", path="/projects/{project}", headers={"idempotency_key": "Idempotency-Key"}
)
