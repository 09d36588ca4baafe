"""Large Parquet files, read in portions by the same steps as small ones."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from projects.dataset import Dataset
from resources.datasets.columns import UnusableColumns, require_distinct, with_types
from resources.datasets.remarks import Remark, merged
from resources.datasets.sources.declared_types import as_declared, plain_as_declared, types_of
from resources.datasets.sources.listing import Found, FoundFile, answering
from resources.datasets.sources.parquet_files import opened, without_index
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.tables import with_partitions
from resources.datasets.sources.union import FileTable, joined
from resources.datasets.streams import ROWS_OF_PORTION

PORTION_BYTES = 64 << 20


class ParquetStream:
    """Rows of Parquet files in plain types and with the declared columns."""

    bookkeeping: frozenset[str] = frozenset()

    def __init__(self, address: str, found: Found, declared: Dataset) -> None:
        """Reads the schemas of the files. Raises SourceUnreadable or SourceUnreachable."""
        self._found, self._declared = found, declared
        self._schemas: dict[str, pa.Schema] = {}
        self._rows = 0
        for file in found.files:
            with opened(found.system, file) as parquet:
                self._schemas[file.name] = parquet.schema_arrow
                self._rows += parquet.metadata.num_rows
        if not self._rows:
            raise SourceUnreadable(f"{declared.source} has no rows; expected at least one")
        self._listed = found.remarks(address)
        self._seen: list[Remark] = []
        self.is_steady = all(
            _is_steady(field, declared) for s in self._schemas.values() for field in s
        )
        if self.is_steady:
            empty = {name: s.empty_table() for name, s in self._schemas.items()}
            plain = [FileTable(n, self._plain(n, table, [])) for n, table in empty.items()]
            # No rows tell what the columns of all files are together.
            self._whole, _ = joined(plain)
            self.schema: pa.Schema = self._in_columns(found.files[0], self._whole, []).schema
            require_distinct(self.schema.names)

    @property
    def remarks(self) -> Sequence[Remark]:
        """What was left out or converted, of the rows that were read."""
        return merged([*self._listed, *self._seen])

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows of the files in their order, in portions. Raises SourceUnreadable or
        SourceUnreachable."""
        seen: list[Remark] = []
        for file in self._found.files:
            names = self._needed(file, columns)
            for portion in self._portions(file, names):
                table = self._plain(file.name, portion, seen)
                table = self._in_columns(file, self._in_kinds(file, table, seen), seen)
                yield self._checked(file, table if columns is None else table.select(columns))
        if columns is None:
            self._seen = seen

    def _needed(self, file: FoundFile, columns: Sequence[str] | None) -> list[str] | None:
        """Columns of the file to read; one more than none, for the number of rows."""
        if columns is None:
            return None
        has = self._schemas[file.name].names
        return [name for name in has if name in columns] or has[:1]

    def _portions(self, file: FoundFile, names: list[str] | None) -> Iterator[pa.Table]:
        with opened(self._found.system, file) as parquet:
            width = max(1, parquet.metadata.num_columns if names is None else len(names))
            rows = max(1_024, min(ROWS_OF_PORTION, PORTION_BYTES // (8 * width)))
            batches = parquet.iter_batches(rows, columns=names)
            while (batch := _next(batches, file)) is not None:
                yield pa.Table.from_batches([batch])

    def _plain(self, name: str, table: pa.Table, remarks: list[Remark]) -> pa.Table:
        table, about = without_index(table, self._declared.read.keep)
        table, more = plain_as_declared(table, self._declared.read, name)
        remarks += [*about, *more]
        return table

    def _in_kinds(self, file: FoundFile, table: pa.Table, remarks: list[Remark]) -> pa.Table:
        """The rows with the columns of all files, in the types that hold the values of all."""
        known = [name for name in self._whole.column_names if name in self._schemas[file.name].names]
        absent = [name for name in known if name not in table.column_names]
        bare = self._whole.drop_columns(absent) if absent else self._whole
        rows, about = joined([FileTable("all files", bare), FileTable(file.name, table)])
        remarks += [remark for remark in about if remark.count]
        return rows

    def _in_columns(self, file: FoundFile, table: pa.Table, remarks: list[Remark]) -> pa.Table:
        files = self._found.files
        counts = [table.num_rows if each is file else 0 for each in files]
        values = [1] * len(files)
        typed, about = with_partitions(table, files, counts, values, self._declared.label)
        rows = as_declared(SourceRows(typed, tuple(about)), self._declared)
        typed, empty = with_types(rows.table, self._declared.label)
        remarks += [*rows.remarks, *empty]
        return typed

    def _checked(self, file: FoundFile, table: pa.Table) -> pa.Table:
        for field in table.schema:
            expected = self.schema.field(field.name).type
            if field.type != expected:
                raise SourceUnreadable(
                    f"{file.name}: column {field.name!r} has values of type {field.type}, expected "
                    f"{expected} as in the rows before; declare its type under read: types"
                )
        return table
