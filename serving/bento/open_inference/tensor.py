"""Tensors of the protocol: datatypes, and values as JSON, as raw bytes and as arrays."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from runtime.bad_request import BadRequest, shown

BYTES = "BYTES"
DATATYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(bool),
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    BYTES: np.dtype(object),
}
_WORDS = {dtype.name: word for word, dtype in DATATYPES.items()} | {"string": BYTES}
LENGTH_BYTES = 4
"""Of the length before each element of a raw BYTES tensor, little-endian."""


class Tensor(NamedTuple):
    """A named tensor."""

    name: str
    values: np.ndarray
    """In their shape; texts (or None for a missing one) as objects where the datatype is BYTES."""

    @property
    def datatype(self) -> str:
        """The protocol's word for the type of the values."""
        return datatype_of(self.values.dtype.name)


def datatype_of(dtype: str) -> str:
    """The protocol's word for a type of NumPy's or of a signature's."""
    return _WORDS[dtype]


def tensor_of_raw(name: str, datatype: str, shape: Sequence[Any], raw: bytes) -> Tensor:
    """The tensor whose values are little-endian bytes, row by row. Raises BadRequest."""
    dtype, count = _dtype(name, datatype), _count(name, shape)
    if datatype == BYTES:
        return Tensor(name, _texts(name, _elements(name, raw, count)).reshape(shape))
    if len(raw) != count * dtype.itemsize:
        raise BadRequest(
            f"input {name!r}: got {len(raw)} bytes, expected {count * dtype.itemsize} for shape "
            f"{list(shape)} of {datatype}"
        )
    values = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False)
    return Tensor(name, values.reshape(shape))


def tensor_of_values(name: str, datatype: str, shape: Sequence[Any], given: Any) -> Tensor:
    """The tensor whose values are a list, flat or nested. Raises BadRequest."""
    dtype, count = _dtype(name, datatype), _count(name, shape)
    flat = _flat(name, given)
    if len(flat) != count:
        raise BadRequest(
            f"input {name!r}: got {len(flat)} values, expected {count} for shape {list(shape)}"
        )
    if datatype == BYTES:
        return Tensor(name, _texts(name, flat).reshape(shape))
    return Tensor(name, _numbers(name, datatype, dtype, flat).reshape(shape))


def raw_of(tensor: Tensor) -> bytes:
    """The values as little-endian bytes, row by row."""
    values = tensor.values
    if tensor.datatype != BYTES:
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [str(value).encode() for value in values.ravel()]
    return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text for text in texts)


def _dtype(name: str, datatype: Any) -> np.dtype:
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        known = ", ".join(DATATYPES)
        raise BadRequest(
            f"input {name!r}: got the datatype {shown(datatype)}, expected one of {known}"
        )
    return DATATYPES[datatype]


def _count(name: str, shape: Any) -> int:
    """How many values a tensor of the shape has. Raises BadRequest."""
    is_shape = isinstance(shape, Sequence) and not isinstance(shape, str)
    if not is_shape or not all(type(size) is int and size >= 0 for size in shape):
        raise BadRequest(f"input {name!r}: got the shape {shape!s:.60}, expected whole numbers")
    return math.prod(shape)


def _elements(name: str, raw: bytes, count: int) -> list[bytes]:
    elements, start = [], 0
    while start < len(raw) and len(elements) <= count:
        begin = start + LENGTH_BYTES
        end = begin + int.from_bytes(raw[start:begin], "little")
        if end > len(raw) or begin > len(raw):
            text = f"input {name!r}: the bytes end within element {len(elements)}"
            raise BadRequest(f"{text}, expected its length and {end - begin} bytes")
        elements.append(raw[begin:end])
        start = end
    if len(elements) != count:
        got = f"more than {count}" if len(elements) > count else str(len(elements))
        raise BadRequest(f"input {name!r}: got {got} elements of BYTES, expected {count}")
    return elements


def _texts(name: str, elements: Sequence[Any]) -> np.ndarray:
    texts = np.empty(len(elements), object)
    for number, element in enumerate(elements):
        if isinstance(element, bytes):
            texts[number] = _decoded(name, number, element)
        elif element is None or isinstance(element, str):
            texts[number] = element
        else:
            raise BadRequest(
                f"input {name!r}: value {number} is {shown(element)}, expected a text for BYTES"
            )
    return texts


def _decoded(name: str, number: int, element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        text = f"input {name!r}: value {number} is not UTF-8"
        raise BadRequest(
            f"{text}, expected a text; models of services take no other bytes"
        ) from None


def _flat(name: str, given: Any) -> list[Any]:
    """Values of a flat or nested list. Raises BadRequest."""
    if not isinstance(given, list):
        raise BadRequest(f"input {name!r}: got {shown(given)} as data, expected a list of values")
    while given and isinstance(given[0], list):
        if not all(isinstance(part, list) for part in given):
            raise BadRequest(f"input {name!r}: the data is nested unevenly, expected its shape")
        given = [value for part in given for value in part]
    return given


def _numbers(name: str, datatype: str, dtype: np.dtype, flat: list[Any]) -> np.ndarray:
    taken: tuple[type, ...] = {"b": (bool,), "f": (int, float, type(None))}.get(dtype.kind, (int,))
    if not {type(value) for value in flat} <= set(taken):
        number = next(n for n, value in enumerate(flat) if type(value) not in taken)
        raise BadRequest(
            f"input {name!r}: value {number} is {shown(flat[number])}, which is not of the "
            f"datatype {datatype}"
        )
    if dtype.kind == "f":
        # JSON has no NaN, so null is how a missing number is written.
        flat = [math.nan if value is None else value for value in flat]
    try:
        with np.errstate(over="ignore"):
            return np.array(flat, dtype)
    except OverflowError:
        raise BadRequest(f"input {name!r}: {datatype} cannot hold all of its values") from None
