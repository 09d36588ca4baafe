"""The operation that recommends what worked best so far."""

from typing import Annotated, Any

from pydantic import StringConstraints

from accounts.roles import Permission
from api.operations.jobs import Estimate, Reference
from api.operations.operation import Input, Operation, Output, ShortName


class Recommend(Input):
    """What to recommend hyperparameters and resources for."""

    model: Reference
    project: ShortName | None = None
    metric: Annotated[str, StringConstraints(max_length=250)] | None = None
    """Metric that decides which past run was best: by default that of the model's search, whose
    trials are runs too, else `test_accuracy`."""
    lower_is_better: bool | None = None
    """By default as the search says, or the name of the metric."""


class Recommendation(Output):
    """What worked best so far, or why nothing can be said."""

    enough_history: bool
    message: str
    hyperparameters: dict[str, Any] = {}
    resources: dict[str, Any] = {}
    metric: str
    value: float | None = None
    based_on: list[str] = []
    """mlflow_runs that were compared, the best first."""
    estimated_time: Estimate | None = None


RECOMMEND = Operation(
    name="train.recommend",
    method="GET",
    path="/train/recommendation",
    summary="Recommend hyperparameters and resources from past runs, or say there are too few.",
    input=Recommend,
    output=Recommendation,
    permission=Permission("model", "read"),
    problems=("not-found", "conflict"),
)
OPERATIONS = (RECOMMEND,)
