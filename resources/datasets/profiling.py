"""What a dataset version contains, in numbers: one pass over each column."""

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from engine.packed import is_packed, matrix_of
from engine.protocol import Contract
from resources.datasets.arrow import pc
from resources.datasets.columns import is_number

FEWEST_IN_GROUP = 16
"""Numbered columns of one type, such as the pixels of an image, that are profiled as a group."""
NUMBERED = re.compile(r"^(.+)_(0|[1-9]\d*)$")


class ColumnProfile(Contract):
    """Numbers of one column."""

    name: str
    type: str
    nulls: int
    """Nulls and NaNs."""
    infinite: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    """Range and mean of the finite values."""


class ColumnGroup(Contract):
    """Numbers of the columns `NAME_0`, `NAME_1`, ..., such as the pixels of an image."""

    name: str
    type: str
    nulls: list[int]
    infinite: list[int]
    low: list[float | None]
    high: list[float | None]
    mean: list[float | None]

    def columns(self) -> Iterator[ColumnProfile]:
        """Numbers of every column of the group."""
        every = zip(self.nulls, self.infinite, self.low, self.high, self.mean, strict=True)
        for i, (nulls, infinite, low, high, mean) in enumerate(every):
            yield ColumnProfile(
                name=f"{self.name}_{i}",
                type=self.type,
                nulls=nulls,
                infinite=infinite,
                low=low,
                high=high,
                mean=mean,
            )

    def whole(self) -> ColumnProfile:
        """Numbers of all columns together, under a name such as `pixel_0 ... pixel_63`."""
        means = [mean for mean in self.mean if mean is not None]
        return ColumnProfile(
            name=f"{self.name}_0 ... {self.name}_{len(self.nulls) - 1}",
            type=self.type,
            nulls=sum(self.nulls),
            infinite=sum(self.infinite),
            low=min((low for low in self.low if low is not None), default=None),
            high=max((high for high in self.high if high is not None), default=None),
            mean=float(np.mean(means)) if means else None,
        )


class Profile(Contract):
    """Numbers of one dataset version."""

    rows: int
    columns: list[ColumnProfile]
    """Columns that stand alone."""
    groups: list[ColumnGroup] = []
    class_counts: dict[str, int] = {}
    """Rows by class, where the label has classes."""

    def every(self) -> dict[str, ColumnProfile]:
        """Numbers of every column by its name, those of groups included."""
        grouped = {c.name: c for group in self.groups for c in group.columns()}
        return {**{c.name: c for c in self.columns}, **grouped}

    def column(self, name: str) -> ColumnProfile:
        """The column's numbers. Raises KeyError."""
        return self.every()[name]


def profile_of(table: pa.Table, class_label: str | None = None) -> Profile:
    """Rows, nulls, range and mean of every column, and rows by class of a label with classes."""
    columns, groups = [], []
    for names in _runs(table.schema):
        if is_packed(table.schema.field(names[0]).type):
            groups.append(_packed(names[0], table.column(names[0])))
            continue
        profiles = [_column(name, table.column(name)) for name in names]
        if len(names) >= FEWEST_IN_GROUP:
            groups.append(_group(profiles))
        else:
            columns += profiles
    counts = class_counts_of(table.column(class_label)) if class_label else {}
    return Profile(rows=table.num_rows, columns=columns, groups=groups, class_counts=counts)


def profile_of_parts(parts: list[Profile]) -> Profile:
    """The profile of all rows, from those of portions of one schema."""
    if len(parts) == 1:
        return parts[0]
    every = [part.every() for part in parts]
    rows = [part.rows for part in parts]
    whole = {name: _merged([e[name] for e in every], rows) for name in every[0]}
    groups = [_group([whole[c.name] for c in group.columns()]) for group in parts[0].groups]
    columns = [whole[column.name] for column in parts[0].columns]
    return Profile(rows=sum(rows), columns=columns, groups=groups)


def _merged(columns: list[ColumnProfile], rows: list[int]) -> ColumnProfile:
    known = [
        (c.low, c.high, c.mean, count - c.nulls - c.infinite)
        for c, count in zip(columns, rows, strict=True)
        if c.low is not None and c.high is not None and c.mean is not None
    ]
    numbers: dict[str, Any] = {}
    if known:
        lows, highs, means, counts = zip(*known, strict=True)
        # Shares before the sum, which may be beyond float64.
        mean = math.fsum(m * (n / sum(counts)) for m, n in zip(means, counts, strict=True))
        numbers = {"low": min(lows), "high": max(highs), "mean": mean}
    nulls, infinite = sum(c.nulls for c in columns), sum(c.infinite for c in columns)
    return columns[0].model_copy(
        update={"low": None, "high": None, "mean": None}
        | {"nulls": nulls, "infinite": infinite}
        | numbers
    )


def class_counts_of(labels: pa.ChunkedArray) -> dict[str, int]:
    """Rows by class in the order of the classes; null and NaN are no classes."""
    counted = pc.value_counts(pc.drop_null(labels))
    pairs = zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)
    # NaN alone differs from itself.
    return {str(value): count for value, count in sorted(p for p in pairs if p[0] == p[0])}


def _runs(schema: pa.Schema) -> Iterator[list[str]]:
    """Names of columns, those that follow each other as `NAME_0`, `NAME_1`, ... together."""
    run: list[str] = []
    for index, field in enumerate(schema):
        if run and not _follows(schema.field(index - 1), field):
            yield from _as_run(run)
            run = []
        run.append(field.name)
    yield from _as_run(run)


def _as_run(names: list[str]) -> Iterator[list[str]]:
    is_group = len(names) >= FEWEST_IN_GROUP and names[0].endswith("_0")
    yield from [names] if is_group else [[name] for name in names]


def _follows(before: pa.Field, field: pa.Field) -> bool:
    first, second = NUMBERED.match(before.name), NUMBERED.match(field.name)
    if not (first and second and is_number(field.type)) or before.type != field.type:
        return False
    return first[1] == second[1] and int(second[2]) == int(first[2]) + 1


def _group(profiles: list[ColumnProfile]) -> ColumnGroup:
    return ColumnGroup(
        name=profiles[0].name.removesuffix("_0"),
        type=profiles[0].type,
        nulls=[p.nulls for p in profiles],
        infinite=[p.infinite for p in profiles],
        low=[p.low for p in profiles],
        high=[p.high for p in profiles],
        mean=[p.mean for p in profiles],
    )


def _packed(name: str, column: pa.ChunkedArray) -> ColumnGroup:
    """Numbers of a packed column."""
    values, kind = matrix_of(column), str(column.type.value_type)
    sums = values.sum(axis=0, dtype=np.uint64 if values.dtype == np.uint8 else np.float64)
    if not len(values) or not np.isfinite(sums).all():
        columns = [pa.chunked_array([np.ascontiguousarray(each)]) for each in values.T]
        profiles = [_column(f"{name}_{i}", each) for i, each in enumerate(columns)]
        return _group(profiles).model_copy(update={"type": kind})
    none = [0] * values.shape[1]
    return ColumnGroup(
        name=name,
        type=kind,
        nulls=none,
        infinite=none,
        low=values.min(axis=0).astype(float).tolist(),
        high=values.max(axis=0).astype(float).tolist(),
        mean=(sums / len(values)).tolist(),
    )


def _column(name: str, column: pa.ChunkedArray) -> ColumnProfile:
    profile = ColumnProfile(name=name, type=str(column.type), nulls=column.null_count)
    if not is_number(column.type):
        return profile
    mean = pc.mean(column).as_py()
    # A mean that is finite is of finite values, but for sums beyond float64.
    if mean is not None and math.isfinite(mean):
        numbers = {**pc.min_max(column).as_py(), "mean": mean}
        return profile.model_copy(update=_as_floats(numbers))
    return profile.model_copy(update=_of_odd_values(column))


def _as_floats(numbers: dict[str, Any]) -> dict[str, Any]:
    return {
        "low": float(numbers["min"]),
        "high": float(numbers["max"]),
        "mean": float(numbers["mean"]),
    }


def _of_odd_values(column: pa.ChunkedArray) -> dict[str, Any]:
    """Numbers of a column with NaNs, infinite values or sums beyond float64, or with no value."""
    values = column.cast(pa.float64(), safe=False).to_numpy()
    finite = values[np.isfinite(values)]
    nulls = int(np.isnan(values).sum())
    counts = {"nulls": nulls, "infinite": len(values) - nulls - len(finite)}
    if not len(finite):
        return counts
    # Divided before the sum, which may be beyond float64.
    mean = (finite / len(finite)).sum()
    return {**counts, **_as_floats({"min": finite.min(), "max": finite.max(), "mean": mean})}
