"""Rows of Parquet files, wherever they lie: under local paths or in a bucket."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from engine.artefact import Column
from engine.runtime.tensors import TEXT

if TYPE_CHECKING:
    import pyarrow.dataset as ds

MICROSECONDS_A_DAY = 86_400_000_000
ROWS_AT_ONCE = 65_536


def read_rows(files: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The columns, or all, of all rows in the files, which are all local paths or all `s3://`
    addresses.

    Raises OSError, or pyarrow.ArrowException when a file is no Parquet or lacks a column.
    """
    return dataset_of(files).to_table(columns=None if columns is None else list(columns))


def count_rows(files: Sequence[str]) -> int:
    """Number of rows in the files. Raises OSError or pyarrow.ArrowException."""
    return dataset_of(files).count_rows()


def read_batches(
    files: Sequence[str], columns: Sequence[str] | None = None, size: int = ROWS_AT_ONCE
) -> Iterator[pa.RecordBatch]:
    """The columns, or all, of all rows in the files in their order, in batches of at most that many
    rows, a few of which are in memory at a time. Raises OSError or pyarrow.ArrowException."""
    yield from dataset_of(files).to_batches(
        columns=None if columns is None else list(columns),
        batch_size=size,
        batch_readahead=2,
        fragment_readahead=1,
    )


def dataset_of(files: Sequence[str]) -> "ds.Dataset":
    """The files as one pyarrow Dataset, of which nothing is read yet. Raises as `read_rows`."""
    # Loading it takes as long as the rest of pyarrow, and sensors are imported everywhere.
    import pyarrow.dataset as ds
    import pyarrow.fs as pafs

    system, paths = None, list(files)
    if paths and "://" in paths[0]:
        system = pafs.FileSystem.from_uri(paths[0])[0]
        paths = [pafs.FileSystem.from_uri(path)[1] for path in paths]
    return ds.dataset(paths, format="parquet", filesystem=system)


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
