"""Rows of nothing but numbers, in the quickest way: they fill one tensor."""

from typing import Any

import numpy as np

from .bad_request import BadRequest, shown
from .signature import Signature
from .tensors import Tensors


class MatrixReader:
    """Reads rows of numbers that all fill the model's only input."""

    def __init__(self, signature: Signature) -> None:
        (taken,) = signature["inputs"]
        self._name = taken["name"]
        self._dtype = np.dtype(taken["dtype"])
        self._shape = tuple(taken["shape"])
        self._width = self._shape[0] if len(self._shape) == 1 else None
        """Numbers of a row that is a plain list."""
        self._features: list[str] = taken["columns"]
        self._known = set(self._features)
        columns = signature["columns"]
        self._low, self._high = _bounds(columns, "low"), _bounds(columns, "high")

    def tensors(self, given: list[Any], field: str) -> Tensors:
        """The tensor of rows by position. Raises BadRequest."""
        kinds: set[type] = set()
        for number, row in enumerate(given):
            if type(row) is list and len(row) == self._width:
                kinds.update(map(type, row))
            else:
                self._collect(row, self._shape, kinds, [number], field)
        if not kinds <= {int, float}:
            self._refuse_kinds(given, field)
        return self._within(self._converted(given, kinds, field), given, field)

    def of_array(self, given: np.ndarray, field: str) -> Tensors:
        """The tensor of rows that are numbers [rows, ...] already. Raises BadRequest."""
        return self._within(self._held(given, given, field), given, field)

    def _within(self, rows: np.ndarray, given: Any, field: str) -> Tensors:
        """The tensor of the rows, which are within the declared ranges. Raises BadRequest."""
        if self._low is not None or self._high is not None:
            self._require_in_range(rows, given, field)
        return {self._name: rows}

    def kept(self, tensors: Tensors, given: list[Any]) -> Any:
        """The rows as a log keeps them: the numbers that the input's type made of them."""
        return tensors[self._name]

    def _require_in_range(self, rows: np.ndarray, given: Any, field: str) -> None:
        flat = rows.reshape(len(rows), -1)
        for bound, sign, words in ((self._low, 1, "at least"), (self._high, -1, "at most")):
            if bound is None or not (outside := sign * (flat - bound) < 0).any():
                continue
            row, column = (int(index) for index in np.argwhere(outside)[0])
            path = [row, *(int(i) for i in np.unravel_index(column, self._shape))]
            raise self._refusal(path, _at(given, path), f"{words} {bound[column]:g}", field)

    def ordered(self, row: Any, number: int) -> list[Any]:
        """The values of a row that is given by name. Raises BadRequest."""
        place = f"rows.{number}"
        if not isinstance(row, dict):
            text = f"row {number}: got {shown(row)}, expected an object by feature name"
            raise BadRequest(text, field=place)
        if row.keys() == self._known:
            return [row[name] for name in self._features]
        for name in self._features:
            if name not in row:
                text = f"row {number} lacks the feature {name!r}, expected {self._features}"
                raise BadRequest(text[:500], field=f"{place}.{name}")
        unknown = next(name for name in row if name not in self._known)
        text = f"row {number} has the unknown feature {unknown!r:.80}, expected {self._features}"
        raise BadRequest(text[:500], field=f"{place}.{unknown:.80}")

    def _collect(
        self, value: Any, shape: tuple[int, ...], kinds: set[type], path: list[int], field: str
    ) -> None:
        """Add the kinds of the numbers; refuse a list of another length than the shape says."""
        if not shape:
            kinds.add(type(value))
            return
        if not isinstance(value, list) or len(value) != shape[0]:
            got = f"{len(value)} values" if isinstance(value, list) else shown(value)
            where = self._place(path, field)
            kind = "features" if len(path) == 1 and self._features else "values"
            wanted = f"a list of {shape[0]} {kind}" if len(shape) == 1 else f"shape {list(shape)}"
            text = f"{where}: got {got}, expected {wanted} (rows of {list(self._shape)} numbers)"
            raise BadRequest(text, field=f"{field}.{'.'.join(map(str, path))}")
        if len(shape) == 1:
            kinds.update(map(type, value))
            return
        for number, part in enumerate(value):
            self._collect(part, shape[1:], kinds, [*path, number], field)

    def _refuse_kinds(self, given: list[Any], field: str) -> None:
        for path, value in _leaves(given, len(self._shape) + 1, []):
            if type(value) not in (int, float):
                raise self._refusal(path, value, "a number", field)

    def _converted(self, given: list[Any], kinds: set[type], field: str) -> np.ndarray:
        is_whole = self._dtype.kind in "iu"
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                exact = np.asarray(
                    given, np.float64 if is_whole and float in kinds else self._dtype
                )
            except OverflowError:
                raise self._too_large(given, field) from None
        return self._held(exact, given, field)

    def _held(self, exact: np.ndarray, given: Any, field: str) -> np.ndarray:
        """The numbers in the input's type, which can hold every one. Raises BadRequest."""
        if exact.dtype == self._dtype and np.isfinite(exact).all():
            return exact
        is_whole = self._dtype.kind in "iu"
        with np.errstate(over="ignore", invalid="ignore"):
            rows = exact.astype(self._dtype, copy=False)
        bad = ~np.isfinite(exact)
        if rows is not exact:
            bad |= ~np.isfinite(rows)
        if is_whole and not bad.any():
            bad = rows != exact
        if bad.any():
            path = [int(index) for index in np.argwhere(bad)[0]]
            kind = "whole number" if is_whole else "finite number"
            expected = f"a {kind} that {self._dtype} can hold"
            raise self._refusal(path, _at(given, path), expected, field)
        return rows

    def _too_large(self, given: list[Any], field: str) -> BadRequest:
        for path, value in _leaves(given, len(self._shape) + 1, []):
            try:
                np.asarray(value, self._dtype)
            except OverflowError:
                return self._refusal(path, value, f"a number that {self._dtype} can hold", field)
        return BadRequest(f"{field}: a number is too large for {self._dtype}", field=field)

    def _refusal(self, path: list[int], value: Any, expected: str, field: str) -> BadRequest:
        text = f"{self._place(path, field)}: got {shown(value)}, expected {expected}"
        names = [str(part) for part in path]
        if field == "rows" and len(path) == 2:
            names[1] = self._features[path[1]]
        return BadRequest(text, field=".".join([field, *names]))

    def _place(self, path: list[int], field: str) -> str:
        row, *column = path
        if not column:
            return f"{field}, row {row}"
        is_named = len(column) == 1 and self._features
        name = f" ({self._features[column[0]]})" if is_named else ""
        return f"{field}, row {row}, column {', '.join(map(str, column))}{name}"


def _leaves(value: Any, depth: int, path: list[int]) -> Any:
    """Path and value of everything at the depth."""
    if not depth:
        yield path, value
        return
    for number, part in enumerate(value):
        yield from _leaves(part, depth - 1, [*path, number])


def _at(value: Any, path: list[int]) -> Any:
    for number in path:
        value = value[number]
    return value.item() if isinstance(value, np.generic) else value


def _bounds(columns: list[dict[str, Any]], side: str) -> np.ndarray | None:
    """Declared bound by column, infinite where none is declared; None without any."""
    bounds = [column.get(side) for column in columns]
    if all(bound is None for bound in bounds):
        return None
    open_side = -np.inf if side == "low" else np.inf
    return np.array([open_side if bound is None else bound for bound in bounds], np.float64)
