"""Operations on one mlflow_run: its metrics, and what a run of one's own needs besides."""

from base64 import b64decode
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from typing_extensions import override

from accounts.roles import Permission
from api.operations.curves import CurvePoints, MetricName, Metrics
from api.operations.operation import Done, Id, Input, Operation, Output, Text

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./ -]{0,249}$")]
Value = Annotated[str, StringConstraints(max_length=5000)]
FilePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./ -]{0,199}$")]
RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
EndedStatus = Literal["FINISHED", "FAILED", "KILLED"]


class Run(Output):
    """An mlflow_run."""

    id: str
    experiment_id: str
    name: str
    status: str
    parameters: dict[str, str]
    metrics: dict[str, float | None]
    """Newest value of each metric."""
    tags: dict[str, str]
    """Tags that people and programs have set."""
    started_at: datetime | None
    ended_at: datetime | None
    url: str


class RunId(Input):
    """One run."""

    id: Id


class RunMetrics(Input):
    """Metrics of one run."""

    id: Id
    names: list[MetricName] = Field(default=[], max_length=50)
    """Metrics to give; all by default."""
    points: CurvePoints = 1_000
    """Values of each metric at most; of more, the first and the last are given, and of equal parts
    between them the smallest and the largest."""


class LoggedPoint(Input):
    """One value to record."""

    name: Key
    value: float = Field(allow_inf_nan=False)
    step: int = Field(default=0, ge=0, le=2**53)
    at: datetime | None = None
    """By default now."""


class LogMetrics(Input):
    """A batch of values to record."""

    id: Id
    # MLflow takes at most 1,000 metrics in one batch.
    metrics: list[LoggedPoint] = Field(min_length=1, max_length=1000)


class ChangeRun(Input):
    """What becomes of a run of one's own."""

    id: Id
    status: EndedStatus | None = None
    """Ends the run; it can be ended anew."""
    name: Text | None = None
    tags: dict[Key, Value | None] = Field(default={}, max_length=100)
    """Tags to set; null removes one."""

    @override
    def require_sense(self) -> None:
        if self.status is None and self.name is None and not self.tags:
            raise ValueError("expected at least one of status, name and tags")


class AddFile(Input):
    """A file to keep with a run."""

    id: Id
    path: FilePath
    """Where it lies among the run's files."""
    text: str | None = None
    """The content as text."""
    base64: str | None = None
    """The content in Base64."""

    @override
    def require_sense(self) -> None:
        if (self.text is None) == (self.base64 is None):
            raise ValueError("expected exactly one of text and base64")
        require_inside(self.path)
        if self.base64 is not None:
            b64decode(self.base64, validate=True)

    @property
    def content(self) -> bytes:
        """The bytes to keep. Raises ValueError for what is no Base64."""
        if self.base64 is None:
            return (self.text or "").encode()
        return b64decode(self.base64, validate=True)


class RunFile(Output):
    """A file of a run."""

    path: str
    bytes: int | None


class RunFiles(Output):
    """Files of a run."""

    files: list[RunFile]


class RunFileName(Input):
    """One file of a run."""

    id: Id
    path: FilePath

    @override
    def require_sense(self) -> None:
        require_inside(self.path)


class RunFileContent(Output):
    """A file of a run with its content."""

    path: str
    bytes: int
    base64: str
    """The content in Base64."""


def require_inside(path: str) -> None:
    """Raises ValueError for a path that is none inside the files of a run."""
    if ".." in path.split("/") or path.endswith("/"):
        raise ValueError(f"got the path {path!r}, expected one inside the run's files")


GET = Operation(
    name="runs.get",
    method="GET",
    path="/runs/{id}",
    summary="Show a run with its parameters, newest metrics and tags.",
    input=RunId,
    output=Run,
    permission=Permission("experiment", "read"),
    problems=("not-found",),
)
CHANGE = Operation(
    name="runs.change",
    method="PATCH",
    path="/runs/{id}",
    summary="End, rename or tag a run of your own; runs of jobs belong to their jobs.",
    input=ChangeRun,
    output=Run,
    permission=Permission("experiment", "update"),
    cost="light",
    problems=("not-found", "conflict"),
)
DELETE = Operation(
    name="runs.delete",
    method="DELETE",
    path="/runs/{id}",
    summary="Delete a run of your own, unless a model version was made by it.",
    input=RunId,
    output=Done,
    permission=Permission("experiment", "delete"),
    cost="light",
    problems=("not-found", "conflict"),
)
FILES = Operation(
    name="runs.files",
    method="GET",
    path="/runs/{id}/files",
    summary="List the files that a run keeps.",
    input=RunId,
    output=RunFiles,
    permission=Permission("experiment", "read"),
    problems=("not-found",),
)
FILE = Operation(
    name="runs.file",
    method="GET",
    path="/runs/{id}/file",
    summary="Show one file that a run keeps, such as a picture of its evidence.",
    input=RunFileName,
    output=RunFileContent,
    permission=Permission("experiment", "read"),
    problems=("not-found",),
    for_agents=False,
)
ADD_FILE = Operation(
    name="runs.add-file",
    method="POST",
    path="/runs/{id}/files",
    summary="Keep a file with a run of your own.",
    input=AddFile,
    output=RunFile,
    permission=Permission("experiment", "update"),
    status=201,
    cost="light",
    problems=("not-found", "conflict"),
)
METRICS_GET = Operation(
    name="runs.metrics",
    method="GET",
    path="/runs/{id}/metrics",
    summary="Show the curves of a run.",
    input=RunMetrics,
    output=Metrics,
    permission=Permission("experiment", "read"),
    problems=("not-found",),
)
METRICS_LOG = Operation(
    name="runs.log",
    method="POST",
    path="/runs/{id}/metrics",
    summary="Record a batch of metrics in a run.",
    input=LogMetrics,
    output=Done,
    permission=Permission("experiment", "update"),
    cost="light",
    problems=("not-found",),
)
OPERATIONS = (GET, CHANGE, DELETE, FILES, FILE, ADD_FILE, METRICS_GET, METRICS_LOG)
