"""Rows of Parquet files, wherever they lie: under local paths or in a bucket."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from engine.artefact import Column
from engine.packed import columns_for, is_packed, matrix_of, names_of, unpacked, width_of
from engine.runtime.tensors import TEXT

if TYPE_CHECKING:
    import pyarrow.dataset as ds

MICROSECONDS_A_DAY = 86_400_000_000
ROWS_AT_ONCE = 65_536
VALUES_AT_ONCE = 4_000_000
"""Values of a batch of many columns: 32 MB as models take them."""


def read_rows(files: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The columns, or all, of all rows in the files, which are all local paths or all `s3://`
    addresses; those that packed ones stand for by their own names.

    Raises OSError, or pyarrow.ArrowException when a file is no Parquet or lacks a column.
    """
    rows = dataset_of(files)
    return unpacked(rows.to_table(columns=columns_for(rows.schema, columns)), columns)


def read_matrix(files: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """The columns of numbers of all rows in the files, float32 of shape [rows, columns]. Raises as
    `read_rows`."""
    rows = dataset_of(files)
    names = columns_for(rows.schema, columns)
    field = rows.schema.field(names[0]) if len(names) == 1 else None
    if field is not None and list(columns) == names_of(field) != [field.name]:
        return matrix_of(rows.to_table(columns=names).column(0)).astype(np.float32)
    table = read_rows(files, columns)
    matrix = np.empty((len(table), len(columns)), np.float32)
    for place, name in enumerate(columns):
        matrix[:, place] = table.column(name).to_numpy()
    return matrix


def count_rows(files: Sequence[str]) -> int:
    """Number of rows in the files. Raises OSError or pyarrow.ArrowException."""
    return dataset_of(files).count_rows()


def read_batches(
    files: Sequence[str], columns: Sequence[str] | None = None, size: int = ROWS_AT_ONCE
) -> Iterator[pa.RecordBatch]:
    """The columns, or all, of all rows in the files in their order, in batches of at most that many
    rows and `VALUES_AT_ONCE` values, a few of which are in memory at a time. Raises OSError or
    pyarrow.ArrowException."""
    rows = dataset_of(files)
    for batch in rows.to_batches(**_in_batches(rows.schema, columns, size)):
        yield _unpacked(batch, columns)


def read_first(files: Sequence[str], columns: Sequence[str], count: int) -> pa.Table:
    """The columns of the first rows in the files, so many where there are, of which little more is
    read. Raises OSError or pyarrow.ArrowException."""
    held: list[pa.RecordBatch] = []
    for batch in read_batches(files, columns, count):
        held.append(batch)
        if sum(each.num_rows for each in held) >= count:
            break
    return pa.Table.from_batches(held).slice(0, count)


def read_share(
    files: Sequence[str],
    columns: Sequence[str] | None,
    size: int,
    part: int,
    parts: int,
) -> Iterator[pa.RecordBatch]:
    """One of several equal parts of the rows in the files, in batches as those of `read_batches`;
    the row groups of other parts are not read, and fewer than `parts` rows at the end belong to
    none. Raises as `read_batches`."""
    rows = dataset_of(files)
    how = _in_batches(rows.schema, columns, size)
    each = rows.count_rows() // parts
    start, stop, at = part * each, (part + 1) * each, 0
    for group in (group for file in rows.get_fragments() for group in file.split_by_row_group()):
        count = group.count_rows()
        if at + count <= start:
            at += count
            continue
        for batch in group.to_batches(**how):
            low, high = max(start - at, 0), min(stop - at, batch.num_rows)
            at += batch.num_rows
            if high > low:
                yield _unpacked(batch.slice(low, high - low), columns)
            if at >= stop:
                return


def _in_batches(schema: pa.Schema, columns: Sequence[str] | None, size: int) -> dict[str, Any]:
    width = width_of(schema) if columns is None else len(columns)
    return {
        "columns": columns_for(schema, columns),
        "batch_size": max(1, min(size, VALUES_AT_ONCE // max(1, width))),
        "batch_readahead": 2,
        "fragment_readahead": 1,
    }


def _unpacked(batch: pa.RecordBatch, columns: Sequence[str] | None) -> pa.RecordBatch:
    if not any(map(is_packed, batch.schema.types)):
        return batch if columns is None else batch.select(list(columns))
    return unpacked(pa.Table.from_batches([batch]), columns).combine_chunks().to_batches()[0]


def dataset_of(files: Sequence[str]) -> "ds.Dataset":
    """The files as one pyarrow Dataset, packed columns as they are, of which nothing is read yet.
    Raises as `read_rows`."""
    # Loading it takes as long as the rest of pyarrow, and sensors are imported everywhere.
    import pyarrow.dataset as ds
    import pyarrow.fs as pafs

    system, paths = None, list(files)
    if paths and "://" in paths[0]:
        system = pafs.FileSystem.from_uri(paths[0])[0]
        paths = [pafs.FileSystem.from_uri(path)[1] for path in paths]
    return ds.dataset(paths, format="parquet", filesystem=system)


def targets_of(labels: pa.ChunkedArray | pa.Array, classes: Sequence[str]) -> np.ndarray:
    """Positions of the labels among the classes int64, -1 for one that is none of them; without
    classes their values float64."""
    if not classes:
        return labels.to_numpy(zero_copy_only=False).astype(np.float64)
    whole = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    encoded = whole.dictionary_encode("encode")
    position = {name: index for index, name in enumerate(classes)}
    # Every different label is looked up once, however many rows have it.
    found = [position.get(str(value), -1) for value in encoded.dictionary.to_pylist()]
    places = encoded.indices.to_numpy(zero_copy_only=False)
    return np.array(found, np.int64)[places] if found else np.zeros(0, np.int64)


def columns_of(
    table: pa.Table | pa.RecordBatch, columns: Sequence[Column]
) -> dict[str, np.ndarray]:
    """Every column as models take it: float64 with NaN for missing numbers, or text with None.

    Dates are days since 1970-01-01. Raises pyarrow.ArrowException for values of another kind.
    """
    return {column.name: _values(table.column(column.name), column.kind) for column in columns}


def _values(values: pa.ChunkedArray | pa.Array, kind: str) -> np.ndarray:
    if kind in TEXT:
        return np.array(values.cast(pa.string()).to_pylist(), object)
    if kind == "date":
        microseconds = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)))
        return (
            microseconds.cast(pa.int64()).cast(pa.float64()).to_numpy(zero_copy_only=False)
            / MICROSECONDS_A_DAY
        )
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
