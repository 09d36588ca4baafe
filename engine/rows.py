"""Rows of Parquet files, wherever they lie: under local paths or in a bucket."""

from collections.abc import Sequence

import pyarrow as pa


def read_rows(files: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """The columns of all rows in the files, which are all local paths or all `s3://` addresses.

    Raises OSError, or pyarrow.ArrowException when a file is no Parquet or lacks a column.
    """
    # Loading it takes as long as the rest of pyarrow, and sensors are imported everywhere.
    import pyarrow.dataset as ds
    import pyarrow.fs as pafs

    system, paths = None, list(files)
    if paths and "://" in paths[0]:
        system = pafs.FileSystem.from_uri(paths[0])[0]
        paths = [pafs.FileSystem.from_uri(path)[1] for path in paths]
    return ds.dataset(paths, format="parquet", filesystem=system).to_table(columns=list(columns))
