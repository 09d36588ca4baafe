"""Projected gradient descent within an L-infinity ball, for models with gradients."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from projects.schema import Dataset, Model
from projects.suite import Severity, needs_rows
from simulations.kind import SuiteKind, SuiteRun
from simulations.outcomes import Outcomes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement


class LinfAttack(SuiteKind):
    """Projected gradient descent on held-out rows within an L-infinity ball; metric:
    robust_accuracy."""

    kind: Literal["linf_attack"]
    low: float
    """Smallest legal feature value."""
    high: float
    """Largest legal feature value."""
    epsilons: list[Severity]
    """Radii of the ball, as shares of the legal range."""
    gated_up_to: Severity = 1.0
    """Radii above it are measured and drawn, but not gated."""
    steps: int = Field(default=20, ge=1, le=1_000)
    """Steps of the descent."""
    restarts: int = Field(default=3, ge=1, le=100)
    """Random starts within the ball; a row counts as robust when it withstands all."""
    rows: int = Field(default=512, ge=1)
    """Held-out rows attacked, at most."""

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures."""
        return ("robust_accuracy",)

    def misfit(self, model: Model, dataset: Dataset | None) -> str:
        """Why the suite cannot try the model; empty where it can."""
        return needs_rows(self, dataset)

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """Whether every attacked row is still named rightly, per radius."""
        # PyTorch and the attack library take seconds to load.
        from simulations import attack

        rows, labels = run.held_out.first_matrix(self.rows)
        with run.trials(attack.trials_in(self, len(rows))) as trials:
            return attack.measure(self, run.subject, rows, labels, trials)

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Robust accuracy against the radius."""
        from simulations.pictures import curves

        lines = {"PGD": {e: f"epsilon {e:g}" for e in [0.0, *self.epsilons]}}
        figure = curves(measurements, "robust_accuracy", lines, "epsilon", self.gated_up_to)
        return {"robust_accuracy_against_epsilon": figure}


KIND = LinfAttack
