"""The held-out rows as they are, for every model that predicts from rows."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.task_metrics import TaskMetric
from simulations.kind import SuiteRun
from simulations.measured_rows import chosen_metrics, outcomes_of
from simulations.outcomes import Outcomes, Scenario
from simulations.row_suite import RowSuite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement


class HeldOutRows(RowSuite):
    """The test split as it is; metrics: those of the model's task."""

    kind: Literal["held_out"]

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """The metrics of all held-out rows."""
        metrics = chosen_metrics(self.measure, run.subject.signature.task)
        truth = run.held_out.truth()
        with run.trials(1) as trials:
            scores = trials.measure("held out", lambda: _scores(run, metrics))
        # Nothing is drawn, so one seed stands for all.
        scenarios = [Scenario("held out", {}, gated=True)]
        return outcomes_of(metrics, truth, scenarios, self.seeds[:1], {(0, 0): scores}, {})

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Every metric with its interval."""
        from simulations.pictures import intervals

        return {m.metric: intervals(measurements, m.metric) for m in measurements}

    def evaluations(self, outcomes: list[Outcomes]) -> int:
        """One for each row."""
        return int(np.size(outcomes[0].values))


def _scores(run: SuiteRun, metrics: list[TaskMetric]) -> np.ndarray:
    """The model's scores of all rows."""
    batches = run.held_out.batches()
    return np.concatenate([run.subject.scores(*batch, metrics) for batch in batches])


KIND = HeldOutRows
