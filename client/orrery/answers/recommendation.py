"""What operations take and answer: recommendation.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from typing import Any

from orrery.answers.jobs import Estimate


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What worked best so far, or why nothing can be said."""

    enough_history: bool
    message: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    metric: str
    value: float | None = None
    based_on: list[str] = field(default_factory=list)
    """mlflow_runs that were compared, the best first."""
    estimated_time: Estimate | None = None
