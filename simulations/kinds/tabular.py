"""Held-out rows of a table under noise, shift, gaps, outliers, swaps and drift, and by slices.

It asks the model as a service does, so it works on any model that takes columns.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field

from projects.schema import Dataset, Model
from projects.suite import Severity
from simulations.kind import SuiteRun
from simulations.measured_rows import chosen_metrics, outcomes_of
from simulations.outcomes import Outcomes, Scenario
from simulations.row_suite import RowSuite, Scoring
from simulations.table_changes import CHANGES, Table, slices_of, table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement

ChangeName = Literal["noise", "shift", "missing", "outliers", "swaps", "drift"]
Deviations = list[float]
GATED_UP_TO: dict[ChangeName, float] = {
    "noise": 0.25,
    "shift": 0.25,
    "missing": 0.1,
    "outliers": 0.01,
    "swaps": 0.05,
    "drift": 0.25,
}


class _Piece(NamedTuple):
    """One scenario: a change of the rows, or a slice of them."""

    scenario: Scenario
    change: str = ""
    level: float = 0.0
    part: np.ndarray | None = None


class Tabular(RowSuite):
    """Held-out rows of a table, changed by degrees and by slices; metrics: those of the model's
    task."""

    kind: Literal["tabular"]
    noise: list[float] = Field(default=[0.1, 0.25, 0.5])
    """Standard deviations of the noise on every number, in standard deviations of its column."""
    shift: list[float] = Field(default=[0.1, 0.25, 0.5])
    """Distances that every number moves, up or down by column, in standard deviations."""
    missing: list[Severity] = Field(default=[0.05, 0.1, 0.25])
    """Shares of values that go missing, in columns that may be null."""
    outliers: list[Severity] = Field(default=[0.01, 0.05])
    """Shares of rows in which one number lies far outside."""
    outlier_distance: float = Field(default=6.0, gt=0)
    """Distance of an outlier from the mean, in standard deviations."""
    swaps: list[Severity] = Field(default=[0.05, 0.1])
    """Shares of categories and booleans that become another known one."""
    drift: list[Severity] = Field(default=[0.25, 0.5])
    """Shares of rows lost at one end of a mixture of the numbers: another population."""
    slices: list[str] = []
    """Columns whose values are looked at apart: categories, booleans, and quarters of numbers."""
    fewest_rows: int = Field(default=20, ge=2)
    """Rows that a slice must have."""
    gated_up_to: dict[ChangeName, float] = GATED_UP_TO
    """Largest level that is gated, by change; larger ones are measured and drawn. Changes that are
    not named here have the default."""
    gated_slices: bool = False
    """Whether slices are gated."""
    columns: list[str] = []
    """Columns that are changed, by name or shell pattern; by default all."""
    rows: int = Field(default=2_000, ge=10)
    """Held-out rows tried, at most: a seeded draw of them."""

    def misfit(self, model: Model, dataset: Dataset | None) -> str:
        """Why the suite cannot try the model; empty where it can."""
        if dataset is not None and dataset.source.startswith("images:"):
            return "got a tabular suite for images, expected a table: declare a corruptions suite"
        return super().misfit(model, dataset)

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """The metrics in every scenario."""
        signature = run.subject.signature
        metrics = chosen_metrics(self.measure, signature.task)
        values, truth = run.held_out.drawn(self.rows, self.seeds[0])
        table = table_of(values, signature.columns, self.columns)
        pieces = list(self._pieces(table))
        changed = {
            (s, k): _changed(self, table, piece, np.random.default_rng([seed, s]))
            for s, piece in enumerate(pieces)
            for k, seed in enumerate(self.seeds)
        }
        parts = {place: each.part for place, each in changed.items() if each.part is not None}
        scores = self._scores(
            run, pieces, changed, lambda rows: run.subject.scores(rows, truth, metrics)
        )
        return outcomes_of(metrics, truth, [p.scenario for p in pieces], self.seeds, scores, parts)

    def _scores(
        self,
        run: SuiteRun,
        pieces: "list[_Piece]",
        changed: dict[tuple[int, int], Table],
        scores_of: Scoring,
    ) -> dict[tuple[int, int], np.ndarray]:
        """The model's scores by positions of scenario and seed."""
        clean = changed[0, 0].values
        asked = {place for place, table in changed.items() if table.values is not clean}
        with run.trials(1 + len(asked)) as trials:
            # Rows as they are need one answer, however many slices and seeds they belong to.
            first = trials.measure("clean", lambda: scores_of(clean))
            return {
                (s, k): trials.measure(
                    f"{pieces[s].scenario.name}, seed {self.seeds[k]}",
                    lambda values=table.values: scores_of(values),
                )
                if (s, k) in asked
                else first
                for (s, k), table in changed.items()
            }

    def _pieces(self, table: Table) -> Iterator[_Piece]:
        yield _Piece(Scenario("clean", {}, gated=True))
        limits = {**GATED_UP_TO, **self.gated_up_to}
        for name in CHANGES:
            if not CHANGES[name].applies(table):
                continue
            for level in getattr(self, name):
                gated = level <= limits[name]  # type: ignore[index]
                yield _Piece(Scenario(f"{name} {level:g}", {name: level}, gated), name, level)
        for name, part in slices_of(table, self.slices, self.fewest_rows):
            yield _Piece(Scenario(name, {}, self.gated_slices), part=part)

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Each metric against the level of each change, and by slice."""
        from simulations.pictures import curves, intervals

        figures = {}
        known = {m.scenario for m in measurements}
        for metric in dict.fromkeys(m.metric for m in measurements):
            lines = {
                name: {0.0: "clean", **{v: f"{name} {v:g}" for v in sorted(getattr(self, name))}}
                for name in CHANGES
                if any(f"{name} {v:g}" in known for v in getattr(self, name))
            }
            figures[f"{metric}_against_level"] = curves(measurements, metric, lines, "level")
            if sliced := [m for m in measurements if " = " in m.scenario or " in " in m.scenario]:
                figures[f"{metric}_by_slice"] = intervals(sliced, metric)
        return figures


def _changed(suite: Tabular, table: Table, piece: _Piece, generator: np.random.Generator) -> Table:
    if not piece.change:
        return table._replace(part=piece.part)
    change = CHANGES[piece.change]
    return change.apply(table, piece.level, generator, suite.outlier_distance)


KIND = Tabular
