"""Scenarios and what happened in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.task_metrics import TaskMetric

if TYPE_CHECKING:
    import pyarrow as pa


ROWS_AT_ONCE = 65_536
"""Rows of one batch of the results."""


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
    """Parquet with one row per metric, scenario, seed and unit; equal input, equal bytes.

    No more than `ROWS_AT_ONCE` rows are in memory beside the outcomes. Raises OSError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            pa.field("metric", text),
            pa.field("scenario", text),
            pa.field("gated", pa.bool_()),
            pa.field("seed", pa.int64()),
            pa.field("unit", pa.int64()),
            pa.field("value", pa.float64()),
        ]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        held: list[pa.Table] = []
        rows = 0
        for table in (part for each in all_outcomes for part in _parts(each, schema)):
            held.append(table)
            rows += table.num_rows
            # Many small scenarios share a row group.
            if rows >= ROWS_AT_ONCE:
                writer.write_table(pa.concat_tables(held).unify_dictionaries())
                held, rows = [], 0
        writer.write_table(pa.concat_tables([schema.empty_table(), *held]).unify_dictionaries())


def _parts(outcomes: Outcomes, schema: "pa.Schema") -> "Iterator[pa.Table]":
    """The rows of every scenario and seed, at most `ROWS_AT_ONCE` in each."""
    units = outcomes.values.shape[2]
    for scenario, of_scenario in zip(outcomes.scenarios, outcomes.values, strict=True):
        for seed, values in zip(outcomes.seeds, of_scenario, strict=True):
            for first in range(0, units, ROWS_AT_ONCE):
                part = values[first : first + ROWS_AT_ONCE]
                yield _table(outcomes.metric, scenario, seed, first, part, schema)


def _table(
    metric: str,
    scenario: Scenario,
    seed: int,
    first: int,
    values: np.ndarray,
    schema: "pa.Schema",
) -> "pa.Table":
    """The rows of units from the first on, but for those that are not part of the scenario."""
    import pyarrow as pa

    counted = np.flatnonzero(~np.isnan(values))
    rows = len(counted)
    same = np.zeros(rows, np.int32)
    columns = [
        pa.DictionaryArray.from_arrays(same, [metric]),
        pa.DictionaryArray.from_arrays(same, [scenario.name]),
        pa.array(np.full(rows, scenario.gated)),
        pa.array(np.full(rows, seed, np.int64)),
        pa.array(first + counted),
        pa.array(values[counted]),
    ]
    return pa.Table.from_arrays(columns, schema=schema)
