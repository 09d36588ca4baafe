"""Operations on checkpoints: the states that trainings have reached, to go on from."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints

from accounts.roles import Permission
from api.operations.operation import Done, Input, Operation, Output, Page, Paged, ShortName

CheckpointDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]


class ListCheckpoints(Paged):
    """Checkpoints of one model."""

    project: ShortName
    model: ShortName
    state: Literal["finished", "stopped"] = "finished"
    """Of trainings that ended well, or of those that were stopped before."""


class CheckpointName(Input):
    """One checkpoint of a model."""

    project: ShortName
    model: ShortName
    checkpoint: CheckpointDigest
    """Its content hash, or how that begins."""


class Checkpoint(Output):
    """The state that a training has reached."""

    checkpoint: str
    """Content hash."""
    state: Literal["finished", "stopped"]
    reached: int | None = None
    """Reports that the training had made; null where nobody counted."""
    metrics: dict[str, float] = {}
    """Last metrics of the training, and those of the held-out rows."""
    workers: int | None = None
    """Workers that made it; another number may go on from it."""
    artefact_digest: str | None = None
    uri: str
    created_at: datetime | None = None
    dagster_run_id: str | None = None
    mlflow_run_id: str | None = None


class CheckpointDetails(Checkpoint):
    """A checkpoint, and who needs it."""

    is_kept: bool
    """Whether its files are there: what is not kept can be removed (`retention`)."""
    needed_by: list[str] = []
    """Why it cannot be deleted; empty where it can."""


CHECKPOINTS_LIST = Operation(
    name="checkpoints.list",
    method="GET",
    path="/models/{project}/{model}/checkpoints",
    summary="List the checkpoints of a model, newest first; a training goes on from any of them.",
    input=ListCheckpoints,
    output=Page[Checkpoint],
    permission=Permission("model", "read"),
    problems=("not-found",),
)
CHECKPOINTS_GET = Operation(
    name="checkpoints.get",
    method="GET",
    path="/models/{project}/{model}/checkpoints/{checkpoint}",
    summary="Show a checkpoint, whether its files are kept, and who needs it.",
    input=CheckpointName,
    output=CheckpointDetails,
    permission=Permission("model", "read"),
    problems=("not-found",),
)
CHECKPOINTS_DELETE = Operation(
    name="checkpoints.delete",
    method="DELETE",
    path="/models/{project}/{model}/checkpoints/{checkpoint}",
    summary="Delete the files of a checkpoint that nobody needs.",
    input=CheckpointName,
    output=Done,
    permission=Permission("model", "delete"),
    cost="light",
    problems=("not-found", "conflict"),
)
OPERATIONS = (CHECKPOINTS_LIST, CHECKPOINTS_GET, CHECKPOINTS_DELETE)
