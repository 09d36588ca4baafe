"""The columns that models may learn from, and of what kind each is."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import pyarrow as pa

from engine.artefact import Column, ColumnKind
from projects.dataset import Dataset
from projects.nearest import hint
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, is_number

MOST_CATEGORIES = 200
"""Different texts that are still categories."""
ROWS_A_CATEGORY = 2
"""Rows that a category has on average, for a column of texts to be one of categories."""


def features_of(table: pa.Table, declared: Dataset, bookkeeping: Iterable[str]) -> list[Column]:
    """The features of the table: those that are declared, else every column without a role but the
    bookkeeping. Raises UnusableColumns for a declared one that is none.
    """
    names = [f.name for f in table.schema if _kind(f.type) is not None]
    if declared.features:
        chosen = _declared(table, names, declared, set(bookkeeping))
    else:
        chosen = set(names) - set(bookkeeping) - set(declared.roles.values())
    fields = [field for field in table.schema if field.name in chosen]
    return [_column(field, table.column(field.name), declared) for field in fields]


def _declared(
    table: pa.Table, names: list[str], declared: Dataset, bookkeeping: set[str]
) -> set[str]:
    never = bookkeeping | {declared.label, declared.weight}
    possible = [name for name in names if name not in never]
    chosen: set[str] = set()
    for pattern in declared.features:
        found = {name for name in possible if name == pattern or fnmatchcase(name, pattern)}
        if not found and pattern in table.column_names:
            kind = table.schema.field(pattern).type
            why = "says where a row is from" if pattern in bookkeeping else f"is of type {kind}"
            raise UnusableColumns(
                f"features: names the column {pattern!r}, which {why} and is never a feature; "
                "take it out"
            )
        if not found:
            raise UnusableColumns(
                f"features: no column {pattern!r} to learn from{hint(pattern, possible)}"
            )
        chosen |= found
    return chosen


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
