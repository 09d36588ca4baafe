"""Operations on experiments, their runs and metrics: MLflow's, through one door."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from accounts.roles import Permission
from api.operations.jobs import MetricName, Metrics
from api.operations.operation import (
    Done,
    Id,
    Input,
    Operation,
    Output,
    Page,
    Paged,
    ShortName,
    Text,
)

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./ -]{0,249}$")]
Value = Annotated[str, StringConstraints(max_length=5000)]
RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


class Experiment(Output):
    """An experiment: whose runs are compared with each other."""

    id: str
    name: str
    project: str
    url: str
    """Page in the MLflow UI."""
    created_at: datetime


class ListExperiments(Paged):
    """Experiments that match."""

    project: ShortName | None = None


class CreateExperiment(Input):
    """A further experiment of a project, beside the one that its jobs report to."""

    project: ShortName
    name: ShortName


class Run(Output):
    """An mlflow_run."""

    id: str
    experiment_id: str
    name: str
    status: str
    parameters: dict[str, str]
    metrics: dict[str, float | None]
    """Newest value of each metric."""
    started_at: datetime | None
    ended_at: datetime | None
    url: str


class ListRuns(Paged):
    """Runs of one experiment."""

    id: Id
    status: RunStatus | None = None
    order_by: Key | None = None
    """Metric whose best value comes first; by default the newest run comes first."""
    ascending: bool = False
    """Whether a smaller metric is better."""


class CreateRun(Input):
    """A run of somebody's own, such as a notebook's."""

    id: Id
    name: Text
    parameters: dict[Key, Value] = Field(default={}, max_length=100)


class RunMetrics(Input):
    """Metrics of one run."""

    id: Id
    names: list[MetricName] = Field(default=[], max_length=50)
    """Metrics to give; all by default."""


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
    metrics: list[LoggedPoint] = Field(min_length=1, max_length=1000)


LIST = Operation(
    name="experiments.list",
    method="GET",
    path="/experiments",
    summary="List experiments.",
    input=ListExperiments,
    output=Page[Experiment],
    permission=Permission("experiment", "read"),
)
CREATE = Operation(
    name="experiments.create",
    method="POST",
    path="/experiments",
    summary="Create an experiment in a project.",
    input=CreateExperiment,
    output=Experiment,
    permission=Permission("experiment", "create"),
    status=201,
    cost="light",
    problems=("not-found", "conflict"),
)
RUNS_LIST = Operation(
    name="experiments.runs",
    method="GET",
    path="/experiments/{id}/runs",
    summary="List the runs of an experiment, newest or best first.",
    input=ListRuns,
    output=Page[Run],
    permission=Permission("experiment", "read"),
    problems=("not-found",),
)
RUNS_CREATE = Operation(
    name="experiments.start-run",
    method="POST",
    path="/experiments/{id}/runs",
    summary="Start a run to log metrics to.",
    input=CreateRun,
    output=Run,
    permission=Permission("experiment", "update"),
    status=201,
    cost="light",
    problems=("not-found",),
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
OPERATIONS = (LIST, CREATE, RUNS_LIST, RUNS_CREATE, METRICS_GET, METRICS_LOG)
