"""Changes of a table by degrees. Shapes: U rows."""

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from engine.artefact import Column
from engine.protocol import Refused
from engine.runtime.tensors import TEXT
from projects.nearest import hint


class Table(NamedTuple):
    """Values by column, and what may be changed of them."""

    values: dict[str, np.ndarray]
    columns: dict[str, Column]
    varied: list[str]
    """Names of the columns that may be changed."""
    part: np.ndarray | None = None
    """bool [U]: rows that belong to the scenario; None where all do."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.values.values())))

    def of_kind(self, *kinds: str) -> list[str]:
        """Names of the columns of these kinds that may be changed."""
        return [name for name in self.varied if self.columns[name].kind in kinds]

    def numbers(self) -> list[str]:
        """Names of the numbers that may be changed and do vary."""
        found = self.of_kind("number", "integer", "date")
        return [name for name in found if spread(self.values[name]) > 0]

    def take(self, chosen: np.ndarray) -> "Table":
        """The chosen rows."""
        return self._replace(values={name: each[chosen] for name, each in self.values.items()})

    def with_values(self, changed: Mapping[str, np.ndarray]) -> "Table":
        """The table with other values, which keep the declared range and whole numbers whole."""
        kept = {name: self._legal(name, each) for name, each in changed.items()}
        return self._replace(values={**self.values, **kept})

    def _legal(self, name: str, values: np.ndarray) -> np.ndarray:
        column = self.columns[name]
        if column.kind in TEXT:
            return values
        values = np.rint(values) if column.kind in ("integer", "boolean") else values
        low = -np.inf if column.low is None else column.low
        high = np.inf if column.high is None else column.high
        return np.clip(values, low, high)


class Change(NamedTuple):
    """A kind of change."""

    applies: Callable[[Table], bool]
    """Whether the table has a column for it."""
    apply: Callable[[Table, float, Generator, float], Table]
    """The table at a level; the last argument is the distance of outliers."""


def table_of(values: Mapping[str, np.ndarray], columns: list[Column], patterns: list[str]) -> Table:
    """The table, of which the columns that a pattern names may be changed, or all without one.

    Raises Refused for a pattern that names no column.
    """
    names = [column.name for column in columns]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise Refused(f"the suite's columns name {pattern!r}, no column{hint(pattern, names)}")
    varied = [n for n in names if not patterns or any(fnmatchcase(n, p) for p in patterns)]
    return Table(dict(values), {column.name: column for column in columns}, varied)


def slices_of(table: Table, names: list[str], fewest: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and rows of every slice with enough rows. Raises Refused for an unknown column."""
    for name in names:
        if name not in table.columns:
            raise Refused(f"the suite slices by {name!r}, no column{hint(name, table.columns)}")
        for label, part in _slices(name, table.values[name], table.columns[name].kind):
            if part.sum() >= fewest:
                yield label, part


def _slices(name: str, values: np.ndarray, kind: str) -> Iterator[tuple[str, np.ndarray]]:
    if kind in TEXT:
        for value in sorted({each for each in values if each is not None}):
            yield f"{name} = {value}", values == value
        return
    if kind == "boolean":
        yield f"{name} = true", values == 1
        yield f"{name} = false", values == 0
        return
    ends = np.unique(np.nanquantile(values, [0, 0.25, 0.5, 0.75, 1]))
    for low, high in pairwise(ends):
        is_last = high == ends[-1]
        part = (values >= low) & ((values <= high) if is_last else (values < high))
        yield f"{name} in {low:g} to {high:g}", part


def spread(values: np.ndarray) -> float:
    """Standard deviation of what is known; 0 where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.std()) if len(known) else 0.0


def _noise(table: Table, level: float, generator: Generator, _: float) -> Table:
    return table.with_values(
        {
            name: table.values[name]
            + level * spread(table.values[name]) * generator.standard_normal(table.rows)
            for name in table.numbers()
        }
    )


def _shift(table: Table, level: float, generator: Generator, _: float) -> Table:
    names = table.numbers()
    signs = generator.choice([-1, 1], len(names))
    return table.with_values(
        {
            name: table.values[name] + sign * level * spread(table.values[name])
            for name, sign in zip(names, signs, strict=True)
        }
    )


def _missing(table: Table, level: float, generator: Generator, _: float) -> Table:
    changed = {}
    for name in _nullable(table):
        values = table.values[name].copy()
        lost = generator.random(table.rows) < level
        values[lost] = None if table.columns[name].kind in TEXT else np.nan
        changed[name] = values
    return table.with_values(changed)


def _outliers(table: Table, level: float, generator: Generator, distance: float) -> Table:
    names = table.numbers()
    hit = np.flatnonzero(generator.random(table.rows) < level)
    which = generator.integers(0, len(names), len(hit))
    signs = generator.choice([-1, 1], len(hit))
    changed = {name: table.values[name].copy() for name in names}
    for place, name in enumerate(names):
        rows = which == place
        values = table.values[name]
        far = np.nanmean(values) + signs[rows] * distance * spread(values)
        changed[name][hit[rows]] = far
    return table.with_values(changed)


def _swaps(table: Table, level: float, generator: Generator, _: float) -> Table:
    changed = {}
    for name in _swappable(table):
        column, values = table.columns[name], table.values[name].copy()
        hit = np.flatnonzero(generator.random(table.rows) < level)
        if column.kind == "boolean":
            values[hit] = 1 - values[hit]
        else:
            known = np.array(column.categories, object)
            # A step of one to n - 1 places never ends where it began.
            places = {value: place for place, value in enumerate(column.categories)}
            steps = generator.integers(1, len(known), len(hit))
            at = np.array([places.get(value, 0) for value in values[hit]], int)
            values[hit] = known[(at + steps) % len(known)]
        changed[name] = values
    return table.with_values(changed)


def _drift(table: Table, level: float, generator: Generator, _: float) -> Table:
    names = table.numbers()
    score = np.zeros(table.rows)
    for name, weight in zip(names, generator.standard_normal(len(names)), strict=True):
        values = table.values[name]
        z = (values - np.nanmean(values)) / spread(values)
        score += weight * np.nan_to_num(z)
    # By rank, so that equal scores lose no more rows than the level says.
    ranks = np.argsort(np.argsort(score, kind="stable"), kind="stable")
    return table._replace(part=ranks >= level * table.rows)


def _nullable(table: Table) -> list[str]:
    return [name for name in table.varied if table.columns[name].nullable]


def _swappable(table: Table) -> list[str]:
    return [
        name
        for name in table.of_kind("category", "boolean")
        if table.columns[name].kind == "boolean" or len(table.columns[name].categories) > 1
    ]


def _has_numbers(table: Table) -> bool:
    return bool(table.numbers())


CHANGES: dict[str, Change] = {
    "noise": Change(_has_numbers, _noise),
    "shift": Change(_has_numbers, _shift),
    "missing": Change(lambda table: bool(_nullable(table)), _missing),
    "outliers": Change(_has_numbers, _outliers),
    "swaps": Change(lambda table: bool(_swappable(table)), _swaps),
    "drift": Change(_has_numbers, _drift),
}
