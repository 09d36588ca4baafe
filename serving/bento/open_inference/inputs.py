"""Named tensors as the rows that the model takes.

A tensor is one of the model's inputs ([rows, ...] in its own datatype) or one column of its rows by
name ([rows] or [rows, 1]). Whichever it is, its values meet the checks of `/predict`.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

import numpy as np
from runtime.bad_request import BadRequest
from runtime.request import Request, RequestReader
from runtime.signature import Signature, is_matrix
from runtime.tensors import TEXT

from .tensor import BYTES, Tensor, datatype_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TensorReader:
    """Reads the tensors of requests for a model with this signature."""

    def __init__(self, signature: Signature, reader: RequestReader) -> None:
        self._rows = reader
        self._inputs = {each["name"]: each for each in signature["inputs"]}
        self._columns = {column["name"]: column for column in signature["columns"]}
        self._matrix = signature["inputs"][0] if is_matrix(signature) else None

    def read(self, tensors: list[Tensor]) -> Request:
        """The rows as the model takes them. Raises BadRequest."""
        self._require_known(tensors)
        self._require_even(tensors)
        if self._matrix is None:
            return self._rows.of_rows(self._table(tensors), "inputs")
        if self._matrix["name"] == tensors[0].name and not self._is_column(tensors[0]):
            self._require_alone(tensors)
            self._require_fit(tensors[0], self._matrix)
            return self._rows.of_array(tensors[0].values, f"input {tensors[0].name!r}")
        columns = self._by_column(tensors)
        rows = np.stack([columns[name] for name in self._matrix["columns"]], axis=1)
        return self._rows.of_array(rows.reshape(len(rows), *self._matrix["shape"]), "inputs")

    def _require_known(self, tensors: list[Tensor]) -> None:
        known = self._inputs | self._columns
        for tensor in tensors:
            if tensor.name not in known:
                near = get_close_matches(tensor.name, known, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise BadRequest(
                    f"got the unknown input {tensor.name!r:.80}; {hint}{self._expected()}"[:500]
                )
        names = [tensor.name for tensor in tensors]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise BadRequest(f"got the input {twice!r} twice, expected it once")
        if not tensors:
            raise BadRequest(f"got no input, {self._expected()}"[:500])

    def _expected(self) -> str:
        columns = f", or a tensor for each column of {list(self._columns)}" if self._columns else ""
        return f"expected the inputs {list(self._inputs)}{columns}"

    def _require_even(self, tensors: list[Tensor]) -> None:
        """Return when all tensors have the same and an allowed number of rows."""
        first, *others = tensors
        for tensor in tensors:
            if not tensor.values.ndim:
                text = f"input {tensor.name!r}: got the shape [], expected rows in the first place"
                raise BadRequest(text)
        rows = len(first.values)
        for tensor in others:
            if len(tensor.values) != rows:
                raise BadRequest(
                    f"input {tensor.name!r}: got {len(tensor.values)} rows, expected {rows} as "
                    f"input {first.name!r} has"
                )
        self._rows.require_count(rows, f"input {first.name!r}")

    def _require_alone(self, tensors: list[Tensor]) -> None:
        for tensor in tensors[1:]:
            raise BadRequest(
                f"column {tensor.name!r} is given twice: by itself and in {tensors[0].name!r}"
            )

    def _require_fit(self, tensor: Tensor, taken: dict[str, Any]) -> None:
        """Return when the tensor has the datatype and the shape of the input."""
        expected = datatype_of(taken["dtype"])
        if tensor.datatype != expected:
            text = f"input {tensor.name!r}: got the datatype {tensor.datatype}, expected {expected}"
            raise BadRequest(text)
        if tensor.values.shape[1:] != tuple(taken["shape"]):
            sizes = ", ".join(["rows", *map(str, taken["shape"])])
            text = f"input {tensor.name!r}: got the shape {list(tensor.values.shape)}"
            raise BadRequest(f"{text}, expected [{sizes}]")

    def _is_column(self, tensor: Tensor) -> bool:
        """Whether the tensor is one column, which an input may have the name of."""
        return tensor.name in self._columns

    def _by_column(self, tensors: list[Tensor]) -> dict[str, np.ndarray]:
        """Values [rows] of every column. Raises BadRequest."""
        columns: dict[str, np.ndarray] = {}
        for tensor in tensors:
            for name, values in self._parts(tensor):
                if name in columns:
                    raise BadRequest(f"column {name!r} is given twice, expected it once")
                self._require_kind(name, values)
                columns[name] = values
        for name, column in self._columns.items():
            if name not in columns and not column.get("nullable"):
                raise BadRequest(f"the input {name!r} is missing; {self._expected()}"[:500])
        return columns

    def _parts(self, tensor: Tensor) -> Iterator[tuple[str, np.ndarray]]:
        values = tensor.values
        if self._is_column(tensor):
            if values.size != len(values):
                text = f"input {tensor.name!r}: got the shape {list(values.shape)}"
                raise BadRequest(f"{text}, expected [rows] or [rows, 1] for a column")
            yield tensor.name, values.reshape(-1)
            return
        taken = self._inputs[tensor.name]
        self._require_fit(tensor, taken)
        parts = values.reshape(len(values), -1)
        for number, name in enumerate(taken["columns"]):
            yield name, parts[:, number]

    def _require_kind(self, name: str, values: np.ndarray) -> None:
        kind, is_text = self._columns[name]["kind"], values.dtype == object
        if kind == "date" or is_text == (kind in TEXT):
            return
        expected = BYTES if kind in TEXT else "a datatype of numbers"
        raise BadRequest(
            f"input {name!r}: got the datatype {datatype_of(values.dtype.name)}, expected "
            f"{expected} for a column of the kind {kind}"
        )

    def _table(self, tensors: list[Tensor]) -> list[list[Any]]:
        """Rows by position, as `/predict` takes them. Raises BadRequest."""
        count, given = len(tensors[0].values), self._by_column(tensors)
        columns = [
            _values(column, given[name]) if name in given else [None] * count
            for name, column in self._columns.items()
        ]
        return [list(row) for row in zip(*columns, strict=True)]


def _values(column: dict[str, Any], values: np.ndarray) -> list[Any]:
    """The values as `/predict` takes them, None for a missing one. Raises BadRequest."""
    given = values.tolist()
    if column["kind"] == "date" and values.dtype != object:
        given = [_date(column["name"], row, days) for row, days in enumerate(given)]
    if not column.get("nullable"):
        return given
    if values.dtype == object:
        # Bytes cannot be null, so a missing text is an empty one.
        return given if "" in (column.get("categories") or ()) else [each or None for each in given]
    return [None if each != each else each for each in given]  # noqa: PLR0124


def _date(name: str, row: int, days: float) -> Any:
    """The ISO 8601 date of so many days since 1970-01-01; NaN stays. Raises BadRequest."""
    if math.isnan(days):
        return days
    try:
        return (EPOCH + timedelta(days=days)).isoformat()
    except OverflowError:
        text = f"input {name!r}, row {row}: got {days:g}, expected days since 1970-01-01"
        raise BadRequest(text) from None
