"""Rows of columns of several kinds: numbers, categories, text, booleans and dates."""

import math
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import numpy as np

from .bad_request import BadRequest, shown
from .signature import Signature
from .tensors import TEXT, Misfit, Tensors, tensors_of

SECONDS_A_DAY = 86_400
MOST = sys.float_info.max
LONGEST_TEXT = 100_000
"""Characters of one text."""
MOST_NAMED = 12
"""Categories that a refusal names."""


class TableReader:
    """Reads rows by the kinds of their columns."""

    def __init__(self, signature: Signature) -> None:
        self._inputs = signature["inputs"]
        self._columns = signature["columns"]
        self._names = [column["name"] for column in self._columns]
        self._known = set(self._names)
        self._read = [_READERS[column["kind"]] for column in self._columns]
        self._among = [frozenset(column.get("categories") or ()) for column in self._columns]

    def ordered(self, row: Any, number: int) -> list[Any]:
        """The values of a row that is given by name; a column that may be null may be absent.

        Raises BadRequest.
        """
        place = f"rows.{number}"
        if not isinstance(row, dict):
            text = f"row {number}: got {shown(row)}, expected an object by column name"
            raise BadRequest(text, field=place)
        for name in row:
            if name not in self._known:
                near = get_close_matches(name, self._names, n=1)
                said = f"did you mean {near[0]!r}?" if near else f"expected {self._names}"
                text = f"row {number} has the unknown column {name!r:.80}; {said}"
                raise BadRequest(text[:500], field=f"{place}.{name:.80}")
        for column in self._columns:
            if column["name"] not in row and not column.get("nullable"):
                text = f"row {number} lacks the column {column['name']!r}, expected {self._names}"
                raise BadRequest(text[:500], field=f"{place}.{column['name']}")
        return [row.get(name) for name in self._names]

    def tensors(self, given: list[Any], field: str) -> Tensors:
        """Tensors of rows by position. Raises BadRequest."""
        for number, row in enumerate(given):
            if not isinstance(row, list) or len(row) != len(self._columns):
                got = f"{len(row)} values" if isinstance(row, list) else shown(row)
                text = f"{field}, row {number}: got {got}, expected a list of {len(self._columns)} "
                text += f"values in the order {self._names}"
                raise BadRequest(text[:500], field=f"{field}.{number}")
        columns = {
            column["name"]: self._column(index, [row[index] for row in given], field)
            for index, column in enumerate(self._columns)
        }
        try:
            return tensors_of(columns, self._inputs)
        except Misfit as error:
            raise BadRequest(str(error), field=field) from None

    def kept(self, tensors: Tensors, given: list[Any]) -> list[Any]:
        """The rows as a log keeps them."""
        return given

    def _column(self, index: int, values: list[Any], field: str) -> np.ndarray:
        column, read = self._columns[index], self._read[index]
        is_text = column["kind"] in TEXT
        kept: list[Any] = []
        for number, value in enumerate(values):
            if value is None and column.get("nullable"):
                kept.append(None if is_text else math.nan)
                continue
            try:
                kept.append(self._allowed(index, read(value)))
            except ValueError as error:
                name = column["name"]
                text = (
                    f"{field}, row {number}, column {name!r}: got {shown(value)}, expected {error}"
                )
                raise BadRequest(text, field=f"{field}.{number}.{name}") from None
        return np.array(kept, object if is_text else np.float64)

    def _allowed(self, index: int, value: Any) -> Any:
        """The value, within the declared range and among the known categories. Raises ValueError
        with what is expected."""
        column, among = self._columns[index], self._among[index]
        if among and value not in among:
            near = get_close_matches(str(value), among, n=1)
            named = ", ".join(map(repr, column["categories"][:MOST_NAMED]))
            more = ", ..." if len(among) > MOST_NAMED else ""
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"one of {named}{more}{hint}")
        low, high = column.get("low"), column.get("high")
        if (low is not None and value < low) or (high is not None and value > high):
            sides = [f"at least {low:g}"] * (low is not None)
            sides += [f"at most {high:g}"] * (high is not None)
            raise ValueError(" and ".join(sides))
        return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not -MOST <= value <= MOST:
        raise ValueError("a finite number that float64 can hold")
    return float(value)


def _integer(value: Any) -> float:
    number = _number(value)
    if number != math.floor(number):
        raise ValueError("a whole number")
    return number


def _boolean(value: Any) -> float:
    if type(value) is not bool and value not in (0, 1):
        raise ValueError("true or false")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError(f"a text of at most {LONGEST_TEXT:,} characters")
    return value


def _date(value: Any) -> float:
    """Days since 1970-01-01; a time without a zone is in UTC."""
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("a date or time of ISO 8601, such as 2026-01-31") from None
    return read.replace(tzinfo=read.tzinfo or UTC).timestamp() / SECONDS_A_DAY


_READERS: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "category": _text,
    "text": _text,
    "date": _date,
}


def values_of(kind: str, values: Iterable[Any]) -> np.ndarray:
    """Values of a request as a column of that kind, as `tensors` describes them.

    What cannot be read is missing.
    """
    is_text = kind in TEXT
    missing = None if is_text else math.nan

    def value_of(value: Any) -> Any:
        try:
            return missing if value is None else _READERS[kind](value)
        except ValueError:
            return missing

    return np.array([value_of(value) for value in values], object if is_text else np.float64)
