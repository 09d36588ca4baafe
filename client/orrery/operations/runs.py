"""Operations of the group runs.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from orrery.answers.curves import Metrics
from orrery.answers.operation import Done
from orrery.answers.runs import LoggedPointFields, Run, RunFile, RunFileContent, RunFiles
from orrery.connection import Connection, Route


class RunsOperations:
    """Operations of the group runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, id: str) -> Run:
        """Show a run with its parameters, newest metrics and tags.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_GET, Run, {"id": id})

    def change(
        self,
        id: str,
        *,
        status: Literal["FINISHED", "FAILED", "KILLED"] | None = None,
        name: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """End, rename or tag a run of your own; runs of jobs belong to their jobs.

        status: Ends the run; it can be ended anew.
        tags: Tags to set; null removes one.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _CHANGE,
            Run,
            {
                "id": id,
                "status": status,
                "name": name,
                "tags": tags,
                "idempotency_key": idempotency_key,
            },
        )

    def delete(self, id: str, *, idempotency_key: str | None = None) -> Done:
        """Delete a run of your own, unless a model version was made by it.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(_DELETE, Done, {"id": id, "idempotency_key": idempotency_key})

    def files(self, id: str) -> RunFiles:
        """List the files that a run keeps.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_FILES, RunFiles, {"id": id})

    def file(self, id: str, path: str) -> RunFileContent:
        """Show one file that a run keeps, such as a picture of its evidence.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_FILE, RunFileContent, {"id": id, "path": path})

    def add_file(
        self,
        id: str,
        path: str,
        *,
        text: str | None = None,
        base64: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunFile:
        """Keep a file with a run of your own.

        path: Where it lies among the run's files.
        text: The content as text.
        base64: The content in Base64.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _ADD_FILE,
            RunFile,
            {
                "id": id,
                "path": path,
                "text": text,
                "base64": base64,
                "idempotency_key": idempotency_key,
            },
        )

    def metrics(
        self, id: str, *, names: Sequence[str] | None = None, points: int = 1000
    ) -> Metrics:
        """Show the curves of a run.

        names: Metrics to give; all by default.
        points: Values of each metric at most; of more, the first and the last are given, and
            of equal parts between them the smallest and the largest.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _METRICS, Metrics, {"id": id, "names": names, "points": points}
        )

    def log(
        self, id: str, metrics: Sequence[LoggedPointFields], *, idempotency_key: str | None = None
    ) -> Done:
        """Record a batch of metrics in a run.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _LOG, Done, {"id": id, "metrics": metrics, "idempotency_key": idempotency_key}
        )


_GET = Route(method="GET", path="/runs/{id}", only_reads=True)
_CHANGE = Route(
    method="PATCH", path="/runs/{id}", headers={"idempotency_key": "Idempotency-Key"}, has_body=True
)
_DELETE = Route(method="DELETE", path="/runs/{id}", headers={"idempotency_key": "Idempotency-Key"})
_FILES = Route(method="GET", path="/runs/{id}/files", only_reads=True)
_FILE = Route(method="GET", path="/runs/{id}/file", only_reads=True)
_ADD_FILE = Route(
    method="POST",
    path="/runs/{id}/files",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
_METRICS = Route(method="GET", path="/runs/{id}/metrics", only_reads=True)
_LOG = Route(
    method="POST",
    path="/runs/{id}/metrics",
    headers={"idempotency_key": "Idempotency-Key"},
    has_body=True,
)
