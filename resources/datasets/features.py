"""The columns that models may learn from, and of what kind each is."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import pyarrow as pa

from engine.artefact import Column, ColumnKind
from projects.dataset import Dataset
from resources.datasets.arrow import pc
from resources.datasets.columns import is_number

MOST_CATEGORIES = 200
"""Different texts that are still categories."""
ROWS_A_CATEGORY = 2
"""Rows that a category has on average, for a column of texts to be one of categories."""


def features_of(table: pa.Table, declared: Dataset, other: Iterable[str]) -> list[Column]:
    """The features of the table, but for the other columns."""
    left_out = set(other)
    return [
        _column(field, table.column(field.name), declared)
        for field in table.schema
        if field.name not in left_out and _kind(field.type) is not None
    ]


def _column(field: pa.Field, values: pa.ChunkedArray, declared: Dataset) -> Column:
    kind = _kind(field.type)
    assert kind
    nullable = values.null_count > 0
    if pa.types.is_floating(field.type):
        nullable = nullable or bool(pc.any(pc.is_nan(values)).as_py())
    categories: list[str] = []
    if kind == "text":
        distinct = pc.unique(values.drop_null())
        if len(distinct) <= min(MOST_CATEGORIES, len(values) // ROWS_A_CATEGORY):
            kind, categories = "category", sorted(distinct.to_pylist())
    low, high = _declared_range(field.name, declared)
    return Column(
        name=field.name, kind=kind, nullable=nullable, categories=categories, low=low, high=high
    )


def _kind(kind: pa.DataType) -> ColumnKind | None:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if is_number(kind):
        return "number"
    if pa.types.is_string(kind):
        return "text"
    return "date" if pa.types.is_date(kind) or pa.types.is_timestamp(kind) else None


def _declared_range(name: str, declared: Dataset) -> tuple[float | None, float | None]:
    for pattern, expected in declared.expect.columns.items():
        if expected.range and fnmatchcase(name, pattern):
            return expected.range.at_least, expected.range.at_most
    return None, None
