"""Operations on experiments and their runs, kept by MLflow."""

from datetime import datetime

from pydantic import Field

from accounts.roles import Permission
from api.operations.operation import Id, Input, Operation, Output, Page, Paged, ShortName, Text
from api.operations.runs import Key, Run, RunStatus, Value


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
OPERATIONS = (LIST, CREATE, RUNS_LIST, RUNS_CREATE)
