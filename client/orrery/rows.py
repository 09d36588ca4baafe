"""Rows of a notebook as a service takes them, and its answers in the form that the rows had."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PLAIN = frozenset({bool, int, str, type(None)})
"""Types whose values JSON has as they are; most values are of one of them."""
EXPECTED = (
    "a frame of pandas, a mapping of columns, a list of mappings, a list of lists, or an array of "
    "numpy with two dimensions"
)


@dataclass(frozen=True)
class Table:
    """Rows, by column name or in the order of the columns."""

    rows: Sequence[Any]
    are_named: bool

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> "Table":
        return Table(self.rows[part], self.are_named)

    @property
    def fields(self) -> dict[str, Any]:
        """The rows as the operation takes them."""
        return {"rows" if self.are_named else "inputs": self.rows}


def table_of(data: Any) -> Table:
    """The data as rows. Raises ValueError or TypeError for what is none."""
    if _is(data, "pandas", "DataFrame"):
        return _of_frame(data)
    if _is(data, "numpy", "ndarray"):
        if data.ndim != 2:
            raise ValueError(f"got an array with {data.ndim} dimensions, expected {EXPECTED}")
        return Table(_plain_rows(data.tolist()), are_named=False)
    if isinstance(data, Mapping):
        return _of_columns({str(name): _column(name, values) for name, values in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _of_list(data)
    raise TypeError(f"got {type(data).__name__}, expected {EXPECTED}")


def _of_frame(frame: Any) -> Table:
    columns = [frame.iloc[:, number].tolist() for number in range(frame.shape[1])]
    if list(frame.columns) == list(range(frame.shape[1])):
        # Numbers are what pandas calls columns that nobody has named.
        return Table(_plain_rows(list(zip(*columns, strict=True))), are_named=False)
    return _of_columns(dict(zip(map(str, frame.columns), columns, strict=True)))


def _of_columns(columns: Mapping[str, Sequence[Any]]) -> Table:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"got columns with {sorted(lengths)} values, expected as many in each")
    plain = [[plain_value(value) for value in values] for values in columns.values()]
    return Table([dict(zip(columns, row, strict=True)) for row in zip(*plain, strict=True)], True)


def _column(name: Any, values: Any) -> Sequence[Any]:
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise ValueError(
            f"got {values!r:.80} for the column {name!r}, expected a list of values; write one row "
            "as [{...}]"
        )
    return values


def _of_list(data: Sequence[Any]) -> Table:
    if all(isinstance(row, Mapping) for row in data):
        named = [{str(name): plain_value(v) for name, v in row.items()} for row in data]
        return Table(named, are_named=True)
    rows = [row.tolist() if hasattr(row, "tolist") else row for row in data]
    if any(isinstance(row, (str, bytes)) or not isinstance(row, Sequence) for row in rows):
        raise ValueError(f"got a list of single values, expected {EXPECTED}")
    return Table(_plain_rows(rows), are_named=False)


def _plain_rows(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[plain_value(value) for value in row] for row in rows]


def plain_value(value: Any) -> Any:
    """The value as JSON has it; None for what pandas and numpy call missing."""
    if type(value) in PLAIN:
        return value
    if hasattr(value, "isoformat"):
        # pandas' missing time is a time that is not equal to itself.
        return value.isoformat() if value == value else None  # noqa: PLR0124
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and math.isnan(value):
        return None
    pandas = sys.modules.get("pandas")
    return None if pandas is not None and value is pandas.NA else value


def shaped_like(data: Any, values: list[Any]) -> Any:
    """One value for each row, in the form of the data."""
    if _is(data, "pandas", "DataFrame"):
        return sys.modules["pandas"].Series(values, index=data.index, name="prediction")
    return sys.modules["numpy"].asarray(values) if _is(data, "numpy", "ndarray") else values


def table_like(data: Any, found: list[dict[str, Any]]) -> Any:
    """One mapping for each row, in the form of the data."""
    if _is(data, "pandas", "DataFrame"):
        return sys.modules["pandas"].DataFrame(found, index=data.index)
    return found


def _is(data: Any, module: str, name: str) -> bool:
    """Whether the data is of the class, without loading a module that nobody has loaded."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(data, getattr(loaded, name))
