"""The hash over the rows of a version, of rows that come in any portions.

Arrow pads the texts of a batch in a stream to 64 bytes, and in a batch that is part of a larger
table with the texts of the rows after it. Versions are named by such streams, so the first bytes
of the texts of every batch must be known before the rows are hashed.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

ROWS_AT_ONCE = 65_536
PADDED_TO = 64
TextHeads = dict[str, list[bytes]]
"""First bytes of the texts of every batch, by column."""


def content_hash(table: pa.Table) -> str:
    """SHA-256 over the Arrow IPC stream of the rows in batches of 65,536.

    Equal for equal rows, names and types, however the table is chunked in memory.
    """
    texts = text_columns(table.schema)
    content = ContentHash(table.schema, text_heads([table.select(texts)]) if texts else {})
    content.add(table)
    return content.hexdigest()


def text_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns of text."""
    return [field.name for field in schema if pa.types.is_string(field.type)]


def text_heads(tables: Iterable[pa.Table]) -> TextHeads:
    """First bytes of the texts of every batch of the tables' rows; all their columns are text."""
    batches, heads = _Batches(), {}
    for table in tables:
        for batch in batches.add(table):
            _take_heads(batch, heads)
    for batch in batches.rest():
        _take_heads(batch, heads)
    return heads


class ContentHash:
    """The content hash of tables that are added one after the other."""

    def __init__(self, schema: pa.Schema, heads: TextHeads) -> None:
        self._sink, self._batches, self._heads = _Hashing(), _Batches(), heads
        self._done = 0
        # Metadata, such as that of pandas, is not part of the content.
        self._writer = pa.ipc.new_stream(
            pa.PythonFile(self._sink, mode="w"), schema.remove_metadata()
        )

    def add(self, table: pa.Table) -> None:
        """Take the next rows, which are of the schema."""
        for batch in self._batches.add(table.replace_schema_metadata(None)):
            self._write(batch)

    def hexdigest(self) -> str:
        """The hash of all rows; nothing can be added afterwards."""
        for batch in self._batches.rest():
            self._write(batch)
        self._writer.close()
        return self._sink.digest.hexdigest()

    def _write(self, batch: pa.RecordBatch) -> None:
        self._done += 1
        arrays = [
            _with_tail(array, self._tail(name)) if name in self._heads else array
            for name, array in zip(batch.schema.names, batch.columns, strict=True)
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=batch.schema))

    def _tail(self, name: str) -> bytes:
        tail = b""
        for head in self._heads[name][self._done :]:
            tail += head
            if len(tail) >= PADDED_TO:
                break
        return tail[:PADDED_TO]


class _Batches:
    """Rows in batches of equal size, in buffers of their own."""

    def __init__(self) -> None:
        self._held: pa.Table | None = None

    def add(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        rows = table if self._held is None else pa.concat_tables([self._held, table])
        whole = rows.num_rows - rows.num_rows % ROWS_AT_ONCE
        for start in range(0, whole, ROWS_AT_ONCE):
            yield _bare(rows.slice(start, ROWS_AT_ONCE))
        # A slice without rows would keep the buffers of all that came before.
        self._held = rows.slice(whole) if whole < rows.num_rows else None

    def rest(self) -> Iterator[pa.RecordBatch]:
        if self._held is not None:
            rows, self._held = [self._held], None
            yield _bare(rows.pop())


def _bare(rows: pa.Table) -> pa.RecordBatch:
    schema, columns = rows.schema, rows.columns[::-1]
    # A column is let go once it is copied, because a batch of many columns is large.
    del rows
    return pa.RecordBatch.from_arrays([_bare_column(columns.pop()) for _ in schema], schema=schema)


def _bare_column(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if _is_bare(array):
        return array
    # Taking every row writes new buffers: old ones hold arbitrary bytes under nulls.
    return array.take(pa.array(np.arange(len(array))))


def _is_bare(array: pa.Array) -> bool:
    """Whether the array is of numbers without nulls, and nothing of others would pad it."""
    is_number = pa.types.is_integer(array.type) or pa.types.is_floating(array.type)
    if not is_number or array.null_count or not len(array):
        return False
    size = len(array) * array.type.bit_width // 8
    return size % PADDED_TO == 0 or (array.offset == 0 and array.buffers()[1].size == size)


def _take_heads(batch: pa.RecordBatch, heads: TextHeads) -> None:
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        heads.setdefault(name, []).append(_data(array)[:PADDED_TO])


def _data(array: pa.Array) -> bytes:
    """The texts of an array in buffers of its own, one after the other."""
    buffer = array.buffers()[2]
    return buffer.to_pybytes() if buffer is not None else b""


def _with_tail(array: pa.Array, tail: bytes) -> pa.Array:
    validity, offsets, _ = array.buffers()
    data = pa.py_buffer(_data(array) + tail)
    return pa.Array.from_buffers(
        array.type, len(array), [validity, offsets, data], array.null_count
    )


class _Hashing:
    """A file that only hashes what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def flush(self) -> None: ...

    def close(self) -> None: ...
