"""Operations of the group checkpoints.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from typing import Literal

from orrery.answers.checkpoints import Checkpoint, CheckpointDetails
from orrery.answers.operation import Done
from orrery.connection import Connection, Listing, Route


class CheckpointsOperations:
    """Operations of the group checkpoints."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        project: str,
        model: str,
        *,
        cursor: str | None = None,
        limit: int = 50,
        state: Literal["finished", "stopped"] = "finished",
    ) -> Listing[Checkpoint]:
        """List the checkpoints of a model, newest first; a training goes on from any of them.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.
        state: Of trainings that ended well, or of those that were stopped before.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST,
            Checkpoint,
            {"project": project, "model": model, "cursor": cursor, "limit": limit, "state": state},
        )

    def get(self, project: str, model: str, checkpoint: str) -> CheckpointDetails:
        """Show a checkpoint, whether its files are kept, and who needs it.

        checkpoint: Its content hash, or how that begins.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _GET, CheckpointDetails, {"project": project, "model": model, "checkpoint": checkpoint}
        )

    def delete(
        self, project: str, model: str, checkpoint: str, *, idempotency_key: str | None = None
    ) -> Done:
        """Delete the files of a checkpoint that nobody needs.

        checkpoint: Its content hash, or how that begins.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _DELETE,
            Done,
            {
                "project": project,
                "model": model,
                "checkpoint": checkpoint,
                "idempotency_key": idempotency_key,
            },
        )


_LIST = Route(method="GET", path="/models/{project}/{model}/checkpoints", only_reads=True)
_GET = Route(
    method="GET", path="/models/{project}/{model}/checkpoints/{checkpoint}", only_reads=True
)
_DELETE = Route(
    method="DELETE",
    path="/models/{project}/{model}/checkpoints/{checkpoint}",
    headers={"idempotency_key": "Idempotency-Key"},
)
