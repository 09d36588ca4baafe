"""Rows in blocks, and the hashes that name versions by their content.

A block ends after a number of rows that the columns decide, or before where its texts are large, so
that rows which are appended to others leave all whole blocks of those as they are. Its hash is over
names, types, values, gaps and splits, and not over how Arrow keeps them in memory. Numbers are
hashed as little-endian machines keep them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from resources.datasets.arrow import pc

SCHEME = 1
"""Number of the way to make hashes, which is part of them."""
BLOCK_BYTES = 64 << 20
"""Size of a block in memory."""
FEWEST_ROWS, MOST_ROWS = 1 << 10, 1 << 20
TEXT_BYTES = 16
"""What a text takes at least."""


def rows_of_block(schema: pa.Schema) -> int:
    """Number of rows of a block, a power of two."""
    most = BLOCK_BYTES // max(1, sum(map(_width, schema.types)))
    return 1 << (min(max(most, FEWEST_ROWS), MOST_ROWS).bit_length() - 1)


def blocks(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of the tables, which are of one schema, in blocks; the last has the rest."""
    held, rows, size = list[pa.Table](), 0, 0
    for portion in tables:
        # Metadata, such as that of pandas, is not part of the content.
        table = portion.replace_schema_metadata(None)
        most, texts = rows_of_block(table.schema), text_columns(table.schema)
        step = FEWEST_ROWS if texts else most
        start = begin = 0
        while begin < table.num_rows:
            end = min(begin + step - rows % step, table.num_rows)
            size += _text_bytes(table.slice(begin, end - begin), texts)
            rows, begin = rows + end - begin, end
            if rows == most or (rows % step == 0 and size >= BLOCK_BYTES):
                held.append(table.slice(start, end - start))
                yield pa.concat_tables(held)
                held, rows, size, start = [], 0, 0, end
        if start < table.num_rows:
            held.append(table.slice(start))
    if held:
        yield pa.concat_tables(held)


def text_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns of text."""
    return [field.name for field in schema if pa.types.is_string(field.type)]


def digest_of_block(rows: pa.Table, codes: np.ndarray, number: int) -> str:
    """SHA-256 over the rows of a block, the codes int8 of their splits, and the number of blocks
    before it."""
    digest = hashlib.sha256(_head(rows.schema, number, rows.num_rows))
    for column in rows.columns:
        for part in _parts(_in_one_piece(column)):
            digest.update(part)
    digest.update(codes.astype(np.int8).tobytes())
    return digest.hexdigest()


def digest_of_version(schema: pa.Schema, digests: Iterable[str]) -> str:
    """SHA-256 over the schema and the hashes of all blocks."""
    digest = hashlib.sha256(_head(schema))
    for each in digests:
        digest.update(bytes.fromhex(each))
    return digest.hexdigest()


def _head(schema: pa.Schema, *numbers: int) -> bytes:
    names = [[field.name, str(field.type)] for field in schema]
    return json.dumps([SCHEME, names, *numbers]).encode() + b"\n"


def _parts(array: pa.Array) -> Iterator[Any]:
    """What is hashed of an array, in buffers whose sizes follow from those before them."""
    kind, rows = array.type, len(array)
    yield np.int64(array.null_count)
    if array.null_count:
        yield _bits(array.is_valid())
    if not rows or pa.types.is_null(kind):
        return
    if pa.types.is_boolean(kind):
        yield _bits(array.fill_null(False))
    elif pa.types.is_string(kind):
        yield from _texts(array.fill_null("") if array.null_count else array)
    elif pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        if pa.types.is_list(kind):
            yield pc.list_value_length(array).fill_null(0).to_numpy()
        yield from _parts(array.flatten())
    else:
        yield _values(array)


def _bits(values: pa.Array) -> np.ndarray:
    return np.packbits(values.to_numpy(zero_copy_only=False), bitorder="little")


def _texts(array: pa.Array) -> Iterator[Any]:
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    yield starts - starts[0]
    if data is not None:
        yield memoryview(data)[starts[0] : starts[-1]]


def _values(array: pa.Array) -> Any:
    """The values of a type of one width, with 0 where there is none."""
    width = array.type.bit_width // 8
    data = memoryview(array.buffers()[1])[
        array.offset * width : (array.offset + len(array)) * width
    ]
    if not array.null_count:
        return data
    values = np.frombuffer(data, f"u{width}").copy()
    values[array.is_null().to_numpy(zero_copy_only=False)] = 0
    return values


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _text_bytes(rows: pa.Table, texts: list[str]) -> int:
    return sum(pc.sum(pc.binary_length(rows.column(name))).as_py() or 0 for name in texts)


def _width(kind: pa.DataType) -> int:
    """Bytes of a value."""
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * _width(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_list(kind):
        return TEXT_BYTES
    return 0 if pa.types.is_null(kind) else max(1, kind.bit_width // 8)
