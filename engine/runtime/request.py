"""A prediction request: JSON, checked against the model's signature.

Exactly one of `inputs` (a list of rows in the order of the columns) and `rows` (a list of objects
by column name). What the model is given is exactly what was sent, or the request is refused with
the row, the column, what was got and what was expected.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .bad_request import BadRequest, shown
from .matrix_rows import MatrixReader
from .signature import Signature, is_matrix
from .table_rows import TableReader
from .tensors import Tensors


class Request(NamedTuple):
    """A request that can be answered."""

    tensors: Tensors
    rows: Sequence[Any]
    """Values of every row by position, as the model was given them."""


class RequestReader:
    """Reads requests for a model with this signature."""

    def __init__(self, signature: Signature, most_rows: int) -> None:
        self._most_rows = most_rows
        self._names = [column["name"] for column in signature["columns"]]
        self._values: MatrixReader | TableReader = (
            MatrixReader(signature) if is_matrix(signature) else TableReader(signature)
        )

    def read(self, body: bytes) -> Request:
        """The rows as the model takes them. Raises BadRequest."""
        field, given = self._given(parsed_json(body))
        if not isinstance(given, list):
            raise BadRequest(f"{field}: got {shown(given)}, expected a list of rows", field=field)
        if field == "rows":
            self.require_count(len(given), field)
            given = [self._values.ordered(row, number) for number, row in enumerate(given)]
        return self.of_rows(given, field)

    def of_rows(self, given: list[Any], field: str) -> Request:
        """The rows, which are given by position, as the model takes them. Raises BadRequest."""
        self.require_count(len(given), field)
        tensors = self._values.tensors(given, field)
        return Request(tensors, self._values.kept(tensors, given))

    def of_array(self, given: np.ndarray, field: str) -> Request:
        """The same of numbers [rows, ...] for a model that takes a matrix. Raises BadRequest."""
        assert isinstance(self._values, MatrixReader)
        self.require_count(len(given), field)
        tensors = self._values.of_array(given, field)
        return Request(tensors, self._values.kept(tensors, []))

    def require_count(self, count: int, field: str) -> None:
        """Return when a request may have so many rows. Raises BadRequest."""
        if not count:
            raise BadRequest(f"{field}: got no row, expected at least one row", field=field)
        if count > self._most_rows:
            text = f"{field}: got {count} rows, expected at most {self._most_rows}; send fewer"
            raise BadRequest(text, 413, field)

    def _given(self, body: Any) -> tuple[str, Any]:
        if type(body) is dict and len(body) == 1 and body.get("inputs") is not None:
            return "inputs", body["inputs"]
        names = "`inputs` (a list of rows)"
        names += " or `rows` (a list of objects by feature name)" if self._names else ""
        if not isinstance(body, dict):
            raise BadRequest(f"the body: got {shown(body)}, expected an object with {names}")
        if unknown := sorted(body.keys() - {"inputs", "rows"}):
            raise BadRequest(
                f"got the field {unknown[0]!r:.80}, expected {names}", field=unknown[0]
            )
        filled = {name: value for name, value in body.items() if value is not None}
        if len(filled) != 1:
            raise BadRequest(f"got {sorted(filled) or 'no field'}, expected exactly one of {names}")
        ((field, given),) = filled.items()
        if field == "rows" and not self._names:
            text = "rows: this model has no named features, expected `inputs`"
            raise BadRequest(text, field="rows")
        return field, given


def parsed_json(body: bytes) -> Any:
    """What the body says as JSON. Raises BadRequest."""
    try:
        # What Python does as well, after it has looked for other encodings.
        is_plain = body[:1] == b"{" and body[1:2] != b"\0"
        return json.loads(body.decode("utf-8", "surrogatepass") if is_plain else body)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        text = f"the body is not JSON that can be read: {error!s:.200}"
        raise BadRequest(text, kind="malformed") from None
    except ValueError:
        # Python reads no longer ones.
        text = f"the body has an integer of more than {sys.get_int_max_str_digits()} digits"
        text += ", expected numbers that the model can hold"
        raise BadRequest(text, kind="malformed") from None
