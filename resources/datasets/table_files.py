"""The data files of a version: Parquet files of one split each, which one commit makes a Delta
table."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from engine.bucket import BucketSettings
from resources.datasets.arrow import pc
from resources.datasets.sources.spool import spool
from resources.datasets.splits import SPLITS
from resources.datasets.survey import SPLIT
from resources.storage.object_store import ObjectStore

WIDE = 1_000
"""Columns above which files are written without dictionaries and statistics, which cost more than
the values."""
FILE_BYTES = 128 << 20
"""Size from which the rows that follow come into another file."""


class DataFile(NamedTuple):
    """One file of a table."""

    path: str
    """Below the folder of the table."""
    split: str
    rows: int
    size: int


class TableFiles:
    """Writes rows in portions into the files of a table."""

    def __init__(self, objects: ObjectStore, key: str, schema: pa.Schema, folder: Path) -> None:
        """Files are written in the folder and then stored under the key."""
        self._objects, self._key, self._schema, self._folder = objects, key, schema, folder
        self._open: dict[str, _Open] = {}
        self._done: list[DataFile] = []

    def add(self, rows: pa.Table) -> None:
        """Write more rows. Raises OSError."""
        for split in SPLITS:
            part = rows.filter(pc.equal(rows.column(SPLIT), split)).drop_columns([SPLIT])
            if not part.num_rows:
                continue
            if split not in self._open:
                self._open[split] = _Open(self._folder, part.schema)
            self._open[split].write(part)
            if self._open[split].size >= FILE_BYTES:
                self._store(split)

    def committed(self) -> list[DataFile]:
        """The files, which are a Delta table now. Raises OSError."""
        from deltalake import Schema
        from deltalake.transaction import AddAction, create_table_with_add_actions

        for split in list(self._open):
            self._store(split)
        now = time.time_ns() // 1_000_000
        create_table_with_add_actions(
            self._objects.uri(self._key),
            Schema.from_arrow(self._schema),
            [
                AddAction(
                    path=file.path,
                    size=file.size,
                    partition_values={SPLIT: file.split},
                    modification_time=now,
                    data_change=True,
                    stats=json.dumps({"numRecords": file.rows}),
                )
                for file in self._done
            ],
            # A write that was interrupted may have left a table here.
            mode="overwrite",
            partition_by=[SPLIT],
            storage_options=BucketSettings().delta_options or None,
        )
        return sorted(self._done)

    def close(self) -> None:
        """End without a table."""
        for file in self._open.values():
            file.writer.close()

    def _store(self, split: str) -> None:
        file = self._open.pop(split)
        file.writer.close()
        name = f"{SPLIT}={split}/{uuid.uuid4()}.parquet"
        self._done.append(DataFile(name, split, file.rows, file.size))
        self._objects.put_file(file.path, f"{self._key}/{name}", is_spare=True)
        file.path.unlink(missing_ok=True)


class _Open:
    """A file that is being written."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.path, self.rows = folder / f"{uuid.uuid4()}.parquet", 0
        self.writer = pq.ParquetWriter(self.path, schema, **_options(schema))

    @property
    def size(self) -> int:
        """Bytes that are written so far."""
        return self.path.stat().st_size

    def write(self, rows: pa.Table) -> None:
        """Write more rows."""
        self.writer.write_table(rows)
        self.rows += rows.num_rows


@contextmanager
def table_files(objects: ObjectStore, key: str, schema: pa.Schema) -> Iterator[TableFiles]:
    """The files of a table under the key, for rows of the schema with the names of their splits;
    they are a table once they are committed."""
    with spool() as scratch:
        files = TableFiles(objects, key, schema, scratch.folder())
        try:
            yield files
        finally:
            files.close()


def _options(schema: pa.Schema) -> dict[str, Any]:
    if len(schema) > WIDE:
        return {"use_dictionary": False, "write_statistics": False}
    # Numbers with decimals hardly repeat.
    return {"use_dictionary": [f.name for f in schema if not pa.types.is_floating(f.type)]}
