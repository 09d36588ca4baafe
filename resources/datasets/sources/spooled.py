"""Rows that were read once and lie on the disk of this machine until a version is made of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from resources.datasets.remarks import Remark
from resources.datasets.sources.union import FileTable, cast_column, joined


class SpooledStream:
    """The rows of tables that come once, in plain types."""

    is_still = True

    def __init__(
        self, tables: Iterator[pa.Table], folder: Path, bookkeeping: frozenset[str]
    ) -> None:
        """Writes all rows into files of the folder, which the stream needs. The tables are at least
        one, and of the same columns; their types may differ as those of files may."""
        self.bookkeeping, self.rows = bookkeeping, 0
        self.remarks: Sequence[Remark] = ()
        """What was left out or converted, as far as it was told."""
        self._files: list[Path] = []
        self.schema = self._written(tables, folder)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows, or the columns of them, in the tables in which they came."""
        wanted = self.schema.names if columns is None else list(columns)
        schema = pa.schema([self.schema.field(name) for name in wanted])
        # By their places, because no other column is read then.
        places = sorted(self.schema.names.index(name) for name in wanted)
        options = pa.ipc.IpcReadOptions(included_fields=places)
        for path in self._files:
            with pa.OSFile(str(path)) as file, pa.ipc.open_file(file, options=options) as rows:
                for number in range(rows.num_record_batches):
                    table = pa.Table.from_batches([rows.get_batch(number)])
                    part = FileTable(path.name, table)
                    values = [cast_column(part, each.name, each.type) for each in schema]
                    yield pa.Table.from_arrays(values, schema=schema)

    def _written(self, tables: Iterator[pa.Table], folder: Path) -> pa.Schema:
        """The schema of all rows, which lie in one file after the other, each of one schema."""
        empty, writer = list[FileTable](), None
        try:
            for table in tables:
                if writer is None or empty[-1].table.schema != table.schema:
                    if writer is not None:
                        writer.close()
                    self._files.append(folder / f"{len(self._files)}.arrow")
                    empty.append(FileTable("the source", table.schema.empty_table()))
                    writer = pa.ipc.new_file(str(self._files[-1]), table.schema)
                writer.write_table(table)
                self.rows += table.num_rows
        finally:
            if writer is not None:
                writer.close()
        return joined(empty)[0].schema
