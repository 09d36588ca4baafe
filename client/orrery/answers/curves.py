"""What operations take and answer: curves.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class MetricPoint:
    """One value of a metric."""

    step: int
    value: float | None
    """Null where it was not a finite number."""
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Series of metrics by name, each in the order of its steps."""

    run_id: str | None
    """The mlflow_run; null before training has started."""
    metrics: dict[str, list[MetricPoint]]
    logged: dict[str, int]
    """How many values each of them has; more than are given where it was thinned."""
