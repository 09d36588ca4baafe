"""What suites share that measure the task's metrics on held-out rows."""

from collections.abc import Callable

import numpy as np

from engine.runtime.tensors import Columns
from projects.schema import Dataset, Model
from projects.suite import needs_rows
from simulations.kind import SuiteKind
from simulations.measured_rows import USUAL_NAMES, MetricName

Scoring = Callable[[Columns], np.ndarray]
"""What the metrics are computed from, for rows by column."""


class RowSuite(SuiteKind):
    """A suite whose scenarios are held-out rows, changed or not."""

    measure: list[MetricName] = []
    """Metrics; by default accuracy, balanced_accuracy, macro_f1 and log_loss of a classification,
    rmse, mae and r2 of a regression, perplexity of a model that writes."""

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures."""
        return tuple(self.measure) or USUAL_NAMES

    def misfit(self, model: Model, dataset: Dataset | None) -> str:
        """Why the suite cannot try the model; empty where it can."""
        return needs_rows(self, dataset)
