"""An attack on tables that needs no gradient: random search within a box around every row."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from engine.protocol import Refused
from projects.schema import Dataset, Model
from projects.suite import needs_rows
from simulations.kind import SuiteKind, SuiteRun
from simulations.outcomes import Outcomes, Scenario
from simulations.table_changes import Table, spread, table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement

FIRST_SHARE = 0.8
"""Share of the numbers that the first proposals change; it falls to one column."""


class BlackBox(SuiteKind):
    """Random search for numbers near a held-out row that change its class (after Andriushchenko et
    al. 2020, arXiv:1912.00049); works on any classifier of columns; metric: robust_accuracy."""

    kind: Literal["black_box"]
    epsilons: list[float] = Field(default=[0.1, 0.25, 0.5], min_length=1)
    """Distances that every number may move, in standard deviations of its column."""
    gated_up_to: float = Field(default=0.25, ge=0)
    """Distances above it are measured and drawn, but not gated."""
    queries: int = Field(default=100, ge=1, le=100_000)
    """Proposals for each row, distance and seed."""
    columns: list[str] = []
    """Columns that the attack may change, by name or shell pattern; by default all numbers."""
    rows: int = Field(default=500, ge=1)
    """Held-out rows attacked, at most."""

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures."""
        return ("robust_accuracy",)

    def misfit(self, model: Model, dataset: Dataset | None) -> str:
        """Why the suite cannot try the model; empty where it can."""
        if dataset is not None and dataset.task in ("regression", "text-generation"):
            task = dataset.task
            return f"got a black_box suite for a {task}, expected a model that names classes"
        return needs_rows(self, dataset)

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """Whether every attacked row is still named rightly, per distance."""
        if not run.subject.signature.classes:
            raise Refused("a black_box suite attacks classes, and the model predicts a number")
        values, truth = run.held_out.first(self.rows)
        table = table_of(values, run.subject.signature.columns, self.columns)
        if not table.numbers():
            raise Refused(
                "a black_box suite moves numbers, and none of the columns varies and is a number; "
                "correct columns, or declare a tabular suite with swaps"
            )
        scenarios = [
            Scenario(f"epsilon {e:g}", {"epsilon": e}, e <= self.gated_up_to)
            for e in [0.0, *self.epsilons]
        ]
        robust = np.empty((len(scenarios), len(self.seeds), table.rows))
        with run.trials(len(scenarios) * len(self.seeds)) as trials:
            for s, scenario in enumerate(scenarios):
                for k, seed in enumerate(self.seeds):

                    def measured(
                        epsilon: float = scenario.parameters["epsilon"], seed: int = seed
                    ) -> np.ndarray:
                        return _withstood(self, run, table, truth, epsilon, seed)

                    robust[s, k] = trials.measure(f"{scenario.name}, seed {seed}", measured)
        return [
            Outcomes(
                "robust_accuracy", True, scenarios, self.seeds, robust, seeds_repeat_units=True
            )
        ]

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Robust accuracy against the distance."""
        from simulations.pictures import curves

        lines = {"random search": {e: f"epsilon {e:g}" for e in [0.0, *sorted(self.epsilons)]}}
        figure = curves(measurements, "robust_accuracy", lines, "epsilon", self.gated_up_to)
        return {"robust_accuracy_against_epsilon": figure}


def _withstood(
    suite: BlackBox,
    run: SuiteRun,
    table: Table,
    truth: np.ndarray,
    epsilon: float,
    seed: int,
) -> np.ndarray:
    """Whether no proposal changed the class of a row, bool [rows]."""
    generator = np.random.default_rng(seed)
    names = table.numbers()
    best, margin = table, _margin(run.subject.scores(table.values), truth)
    for query in range(suite.queries if epsilon else 0):
        alive = np.flatnonzero(margin > 0)
        if not len(alive):
            break
        share = max(1 / len(names), FIRST_SHARE * (1 - query / suite.queries))
        proposed = _proposed(table, best, alive, names, epsilon, share, generator)
        found = _margin(run.subject.scores(proposed.values), truth[alive])
        better = found < margin[alive]
        margin[alive[better]] = found[better]
        best = _accepted(best, proposed, alive, better, names)
    return margin > 0


def _margin(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Score of the true class less the best of the others; not above 0 where it is not named."""
    rows = np.arange(len(truth))
    known = truth >= 0
    true = np.where(known, scores[rows, np.where(known, truth, 0)], -np.inf)
    others = scores.copy()
    others[rows[known], truth[known]] = -np.inf
    return true - others.max(axis=1)


def _proposed(
    clean: Table,
    best: Table,
    alive: np.ndarray,
    names: list[str],
    epsilon: float,
    share: float,
    generator: np.random.Generator,
) -> Table:
    """The living rows with some numbers moved to a corner of the box around the clean row."""
    moved = {}
    for name in names:
        chosen = generator.random(len(alive)) < share
        corner = epsilon * spread(clean.values[name]) * generator.choice([-1, 1], len(alive))
        moved[name] = np.where(chosen, clean.values[name][alive] + corner, best.values[name][alive])
    return best.take(alive).with_values(moved)


def _accepted(
    best: Table, proposed: Table, alive: np.ndarray, better: np.ndarray, names: list[str]
) -> Table:
    changed = {name: best.values[name].copy() for name in names}
    for name in names:
        changed[name][alive[better]] = proposed.values[name][better]
    return best.with_values(changed)


KIND = BlackBox
