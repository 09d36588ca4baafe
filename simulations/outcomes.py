"""Scenarios and what happened in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.task_metrics import TaskMetric

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Scenario:
    """One parameterised situation."""

    name: str
    parameters: dict[str, float]
    gated: bool


@dataclass(frozen=True)
class Outcomes:
    """One metric's value for every scenario, seed and unit (held-out row or episode)."""

    metric: str
    is_share: bool
    """Whether values lie between 0 and 1 and average to a share."""
    scenarios: list[Scenario]
    seeds: list[int]
    values: np.ndarray
    """float64 of shape [scenarios, seeds, units]; NaN where a unit is not part of a scenario."""
    seeds_repeat_units: bool
    """Whether seeds repeat the same units (rows), or draw new ones (episodes)."""
    statistic: TaskMetric | None = None
    """What is measured of the components, where it is not the mean of the values."""
    components: np.ndarray | None = None
    """float64 of shape [scenarios, seeds, units, components]."""
    evaluations: int = 0
    """Model evaluations behind the values, where they are not one for each."""

    def by_unit(self, scenario: Scenario) -> np.ndarray:
        """Value of every independent unit in the scenario, repeats averaged."""
        values = self.values[self.scenarios.index(scenario)]
        units = values.mean(axis=0) if self.seeds_repeat_units else values.ravel()
        return units[~np.isnan(units)]


def write_outcomes(all_outcomes: list[Outcomes], path: Path) -> None:
    """Parquet with one row per metric, scenario, seed and unit; equal input, equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.concat_tables(map(_table, all_outcomes)), path, compression="zstd")


def _table(outcomes: Outcomes) -> "pa.Table":
    import pyarrow as pa

    scenarios, seeds, units = outcomes.values.shape
    rows = scenarios * seeds * units
    names = pa.array([s.name for s in outcomes.scenarios])
    which = pa.array(np.repeat(np.arange(scenarios, dtype=np.int32), seeds * units))
    return pa.table(
        {
            "metric": pa.array([outcomes.metric] * rows),
            "scenario": pa.DictionaryArray.from_arrays(which, names).cast(pa.string()),
            "gated": np.repeat([s.gated for s in outcomes.scenarios], seeds * units),
            "seed": np.tile(np.repeat(outcomes.seeds, units), scenarios),
            "unit": np.tile(np.arange(units), scenarios * seeds),
            "value": outcomes.values.ravel(),
        }
    ).filter(~np.isnan(outcomes.values.ravel()))
