"""The columns that models may learn from, and of what kind each is."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import pyarrow as pa

from engine.artefact import Column, ColumnKind
from projects.dataset import LANGUAGE, Dataset
from projects.nearest import hint
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, is_number
from resources.datasets.profiling import Profile

MOST_CATEGORIES = 200
"""Different texts that are still categories."""
ROWS_A_CATEGORY = 2
"""Rows that a category has on average, for a column of texts to be one of categories."""


def feature_names(schema: pa.Schema, declared: Dataset, bookkeeping: Iterable[str]) -> list[str]:
    """Names of the features: those that are declared, else every column without a role but the
    bookkeeping. Raises UnusableColumns for a declared one that is none.
    """
    names = [f.name for f in schema if _kind(f.type) is not None]
    if declared.features:
        chosen = _declared(schema, names, declared, set(bookkeeping))
    else:
        chosen = set(names) - set(bookkeeping) - set(declared.roles.values())
    return [name for name in names if name in chosen]


def features_of(
    schema: pa.Schema, names: list[str], declared: Dataset, profile: Profile, texts: "Categories"
) -> list[Column]:
    """The features of rows of the schema with that profile and those categories."""
    profiles = profile.every()
    are_texts = declared.task in LANGUAGE
    features = []
    for name in names:
        kind = _kind(schema.field(name).type)
        assert kind
        can_be_categories = kind == "text" and not are_texts
        categories = texts.of(name, profile.rows) if can_be_categories else None
        low, high = _declared_range(name, declared)
        features.append(
            Column(
                name=name,
                kind=kind if categories is None else "category",
                nullable=profiles[name].nulls > 0,
                categories=categories or [],
                low=low,
                high=high,
            )
        )
    return features


class Categories:
    """The different texts of columns, as long as there are few."""

    def __init__(self, schema: pa.Schema, names: list[str]) -> None:
        self._found: dict[str, set[str] | None] = {
            name: set() for name in names if pa.types.is_string(schema.field(name).type)
        }

    def add(self, table: pa.Table) -> None:
        """Take the texts of more rows."""
        for name, found in self._found.items():
            if found is not None:
                found.update(pc.unique(table.column(name).drop_null()).to_pylist())
                if len(found) > MOST_CATEGORIES:
                    self._found[name] = None

    def of(self, name: str, rows: int) -> list[str] | None:
        """The categories of the column in their order; None where its texts are no categories."""
        found = self._found[name]
        if found is None or len(found) > rows // ROWS_A_CATEGORY:
            return None
        return sorted(found)


def _declared(
    schema: pa.Schema, names: list[str], declared: Dataset, bookkeeping: set[str]
) -> set[str]:
    never = bookkeeping | {declared.label, declared.weight}
    possible = [name for name in names if name not in never]
    chosen: set[str] = set()
    for pattern in declared.features:
        found = {name for name in possible if name == pattern or fnmatchcase(name, pattern)}
        if not found and pattern in schema.names:
            kind = schema.field(pattern).type
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
