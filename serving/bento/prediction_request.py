"""A prediction request: JSON, checked against the model's signature.

Exactly one of `inputs` (a list of rows in the order of the features) and `rows` (a list of objects
by feature name). Values are JSON numbers; what the model is given is exactly what was sent, or the
request is refused with the row, the column, what was got and what was expected.
"""

import json
import math
import sys
from typing import Any

import numpy as np

SHOWN = 60
"""Characters of a value that a refusal shows."""


class BadRequest(Exception):
    """A request that cannot be answered; says what was got and what was expected."""

    def __init__(
        self, message: str, status: int = 400, field: str = "", kind: str = "invalid"
    ) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind
        self.field = field
        """Place of the value in the request, such as `inputs.3.1`."""


class RequestReader:
    """Reads requests for a model with this signature."""

    def __init__(self, signature: dict[str, Any], most_rows: int) -> None:
        self._most_rows = most_rows
        self._dtype = np.dtype(signature["input"]["dtype"])
        self._shape = tuple(signature["input"]["shape"])
        self._features: list[str] = signature["features"] or []
        self._known = set(self._features)

    def rows(self, body: bytes) -> np.ndarray:
        """The rows as the model takes them. Raises BadRequest."""
        field, given = self._given(_parsed(body))
        if not isinstance(given, list):
            raise BadRequest(f"{field}: got {_shown(given)}, expected a list of rows", field=field)
        if not given:
            raise BadRequest(f"{field}: got no row, expected at least one row", field=field)
        if len(given) > self._most_rows:
            text = f"{field}: got {len(given)} rows, expected at most {self._most_rows}; send fewer"
            raise BadRequest(text, 413, field)
        if field == "rows":
            given = [self._ordered(row, number) for number, row in enumerate(given)]
        kinds: set[type] = set()
        for number, row in enumerate(given):
            self._collect(row, self._shape, kinds, [number], field)
        if not kinds <= {int, float}:
            self._refuse_kinds(given, field)
        return self._converted(given, kinds, field)

    def _given(self, body: Any) -> tuple[str, Any]:
        names = "`inputs` (a list of rows)"
        names += " or `rows` (a list of objects by feature name)" if self._features else ""
        if not isinstance(body, dict):
            raise BadRequest(f"the body: got {_shown(body)}, expected an object with {names}")
        if unknown := sorted(body.keys() - {"inputs", "rows"}):
            raise BadRequest(
                f"got the field {unknown[0]!r:.80}, expected {names}", field=unknown[0]
            )
        filled = {name: value for name, value in body.items() if value is not None}
        if len(filled) != 1:
            raise BadRequest(f"got {sorted(filled) or 'no field'}, expected exactly one of {names}")
        ((field, given),) = filled.items()
        if field == "rows" and not self._features:
            text = "rows: this model has no named features, expected `inputs`"
            raise BadRequest(text, field="rows")
        return field, given

    def _ordered(self, row: Any, number: int) -> list[Any]:
        place = f"rows.{number}"
        if not isinstance(row, dict):
            text = f"row {number}: got {_shown(row)}, expected an object by feature name"
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
            got = f"{len(value)} values" if isinstance(value, list) else _shown(value)
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
            rows = exact.astype(self._dtype, copy=False)
        bad = ~np.isfinite(exact)
        if is_whole and not bad.any():
            bad = rows != exact
        if bad.any():
            path = [int(index) for index in np.argwhere(bad)[0]]
            value = _at(given, path)
            kind = "whole number" if is_whole else "finite number"
            raise self._refusal(path, value, f"a {kind} that {self._dtype} can hold", field)
        return rows

    def _too_large(self, given: list[Any], field: str) -> BadRequest:
        for path, value in _leaves(given, len(self._shape) + 1, []):
            try:
                np.asarray(value, self._dtype)
            except OverflowError:
                return self._refusal(path, value, f"a number that {self._dtype} can hold", field)
        return BadRequest(f"{field}: a number is too large for {self._dtype}", field=field)

    def _refusal(self, path: list[int], value: Any, expected: str, field: str) -> BadRequest:
        text = f"{self._place(path, field)}: got {_shown(value)}, expected {expected}"
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


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        text = f"the body is not JSON that can be read: {error!s:.200}"
        raise BadRequest(text, kind="malformed") from None
    except ValueError:
        # Python reads no longer ones.
        text = f"the body has an integer of more than {sys.get_int_max_str_digits()} digits"
        text += ", expected numbers that the model can hold"
        raise BadRequest(text, kind="malformed") from None


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
    return value


def _shown(value: Any) -> str:
    """The value as JSON writes it, with its kind where that is not plain."""
    if isinstance(value, str):
        return f"the text {value!r:.{SHOWN}}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{value!s:.{SHOWN}}"
