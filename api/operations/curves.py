"""Curves of metrics, as jobs and runs show them."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from api.operations.operation import Output

MetricName = Annotated[str, StringConstraints(max_length=250)]
CurvePoints = Annotated[int, Field(ge=4, le=100_000)]


class MetricPoint(Output):
    """One value of a metric."""

    step: int
    value: float | None
    """Null where it was not a finite number."""
    at: datetime


class Metrics(Output):
    """Series of metrics by name, each in the order of its steps."""

    run_id: str | None
    """The mlflow_run; null before training has started."""
    metrics: dict[str, list[MetricPoint]]
    logged: dict[str, int]
    """How many values each of them has; more than are given where it was thinned."""
