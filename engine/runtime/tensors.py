"""Rows by column as the tensors that a model takes.

Columns hold one value a row: float64 with NaN for a missing value (numbers, booleans as 0 and 1,
dates as days since 1970-01-01), or objects with None for a missing value (categories and text).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

Columns = Mapping[str, np.ndarray]
Tensors = dict[str, np.ndarray]
TEXT = ("category", "text")
"""Kinds of columns that hold text."""


class Misfit(ValueError):
    """Rows cannot be given to the model."""


def tensors_of(columns: Columns, inputs: list[dict[str, Any]]) -> Tensors:
    """Tensor [rows, ...] by the name of the input. Raises Misfit.

    A missing number is NaN to the model, and a missing text is empty.
    """
    return {each["name"]: _tensor(columns, each) for each in inputs}


def rows_in(tensors: Tensors) -> int:
    """Number of rows in the tensors."""
    return len(next(iter(tensors.values())))


def taken(tensors: Tensors, start: int, stop: int) -> Tensors:
    """The rows from start to stop."""
    return {name: tensor[start:stop] for name, tensor in tensors.items()}


def joined(parts: list[Tensors]) -> Tensors:
    """The rows of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _tensor(columns: Columns, taken: dict[str, Any]) -> np.ndarray:
    names, shape = taken["columns"], tuple(taken["shape"])
    if not names:
        raise Misfit(f"the input {taken['name']!r} is no column, expected rows by position")
    if taken["dtype"] == "string":
        given = [_text(columns[name]) for name in names]
    else:
        given = [columns[name] for name in names]
    rows = given[0] if len(given) == 1 else np.stack(given, axis=1)
    rows = rows.reshape(len(rows), *shape)
    return rows if taken["dtype"] == "string" else _numbers(rows, taken)


def _text(column: np.ndarray) -> np.ndarray:
    missing = np.array([value is None for value in column])
    return np.where(missing, "", column) if missing.any() else column


def _numbers(rows: np.ndarray, taken: dict[str, Any]) -> np.ndarray:
    kind = np.dtype(taken["dtype"])
    if kind.kind in "iub" and np.isnan(rows).any():
        raise Misfit(f"the input {taken['name']!r} is {kind}, which has no missing values")
    return rows.astype(kind, copy=False)
