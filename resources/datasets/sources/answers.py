"""DuckDB's answers, a portion at a time."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from resources.datasets.streams import rows_of_portion


def batches_of(relation: Any) -> Iterator[pa.RecordBatch]:
    """The rows of the relation in portions, after an empty one. Raises duckdb.Error."""
    import duckdb

    reader = relation.to_arrow_reader(rows_of_portion(len(relation.columns)))
    yield pa.RecordBatch.from_pylist([], schema=reader.schema)
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except OSError as error:
            # What Arrow makes of an error of DuckDB that comes after the first rows.
            raise duckdb.Error(str(error)) from error
        yield batch
