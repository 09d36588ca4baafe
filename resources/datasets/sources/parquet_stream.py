"""Large Parquet files, read in portions and by the steps of small ones."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from projects.dataset import Dataset
from resources.datasets.columns import require_distinct, with_types
from resources.datasets.remarks import Remark, merged
from resources.datasets.sources.declared_types import (
    as_declared,
    is_kept,
    plain_as_declared,
    types_of,
)
from resources.datasets.sources.listing import Found, FoundFile
from resources.datasets.sources.parquet_files import opened, without_index
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.tables import with_partitions
from resources.datasets.sources.union import FileTable, cast_column, joined
from resources.datasets.streams import ROWS_OF_PORTION

PORTION_BYTES = 64 << 20


class ParquetStream:
    """The rows of Parquet files in plain types, in the declared columns."""

    bookkeeping: frozenset[str] = frozenset()

    def __init__(self, address: str, found: Found, declared: Dataset) -> None:
        """Reads the schemas of the files, which are steady. Raises SourceUnreadable,
        SourceUnreachable or UnusableColumns."""
        self._found, self._declared, self._seen = found, declared, list[Remark]()
        empty, absent = [], list[Remark]()
        for file in found.files:
            with opened(found.system, file) as parquet:
                schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
            table = self._plain(file, schema.empty_table(), [])
            empty.append((FileTable(file.name, table), rows))
        if not any(rows for _, rows in empty):
            raise SourceUnreadable(f"{declared.source} has no rows; expected at least one")
        whole, about = joined([table for table, _ in empty])
        counts = {table.name: rows for table, rows in empty}
        absent = [r.model_copy(update={"count": counts[r.file or ""]}) for r in about]
        self._names = set(whole.column_names)
        # One row a file: what they have in common is known without any row of theirs.
        rows = pa.table({f.name: pa.nulls(len(empty), f.type) for f in whole.schema})
        rows, about = with_partitions(rows, found.files, [1] * len(empty), declared.label)
        of_files = as_declared(SourceRows(rows, (*absent, *about)), declared)
        self._of_files, more = with_types(of_files.table, declared.label)
        require_distinct(self._of_files.column_names)
        total = sum(counts.values())
        more = [remark.model_copy(update={"count": total}) for remark in more]
        self._known = [*found.remarks(address), *of_files.remarks, *more]

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self._of_files.schema

    @property
    def remarks(self) -> Sequence[Remark]:
        """What was left out or converted, of the rows that were read."""
        return merged([*self._known, *self._seen])

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows of the files in their order, in portions. Raises SourceUnreadable or
        SourceUnreachable."""
        wanted = self.schema.names if columns is None else list(columns)
        seen: list[Remark] = []
        for number, file in enumerate(self._found.files):
            for portion in self._portions(file, None if columns is None else wanted):
                rows = FileTable(file.name, self._plain(file, portion, seen))
                parts = [self._column(number, rows, name) for name in wanted]
                yield pa.Table.from_arrays(parts, schema=self._schema_of(wanted))
        if columns is None:
            self._seen = [r for r in seen if is_kept(self._declared, r.subject)]

    def _schema_of(self, names: list[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in names])

    def _portions(self, file: FoundFile, wanted: list[str] | None) -> Iterator[pa.Table]:
        """The rows as the file has them, in the columns that are wanted or all."""
        with opened(self._found.system, file) as parquet:
            has = parquet.schema_arrow.names
            # One column at least tells the number of rows.
            names = has if wanted is None else [n for n in has if n in wanted] or has[:1]
            rows = max(1_024, min(ROWS_OF_PORTION, PORTION_BYTES // (8 * max(1, len(names)))))
            for batch in parquet.iter_batches(rows, columns=names):
                yield pa.Table.from_batches([batch])

    def _plain(self, file: FoundFile, table: pa.Table, remarks: list[Remark]) -> pa.Table:
        read = self._declared.read
        table, about = without_index(table, read.keep)
        table, more = plain_as_declared(table, read, file.name)
        remarks += [*about, *more]
        return table

    def _column(self, file: int, rows: FileTable, name: str) -> pa.ChunkedArray:
        kind, count = self.schema.field(name).type, rows.table.num_rows
        if name in rows.table.column_names:
            return cast_column(rows, name, kind)
        if name in self._names:
            return pa.chunked_array([pa.nulls(count, kind)])
        # The value of a folder such as `year=2026`.
        return pa.chunked_array([pa.repeat(self._of_files.column(name)[file], count)])


def are_steady(found: Found, declared: Dataset) -> bool:
    """Whether a portion of the files tells how all values are kept. Raises SourceUnreadable or
    SourceUnreachable."""
    for file in found.files:
        with opened(found.system, file) as parquet:
            schema = parquet.schema_arrow
        types = types_of(declared.read, schema.names)
        if not all(_is_steady(f.type) and types.get(f.name) != "timestamp" for f in schema):
            return False
    return True


def _is_steady(kind: pa.DataType) -> bool:
    """Whether values of the type become the same plain type, whatever they are."""
    types = pa.types
    if types.is_dictionary(kind):
        return _is_steady(kind.value_type)
    if types.is_timestamp(kind):
        # Seconds and milliseconds may be too far away for microseconds.
        return kind.unit in ("us", "ns")
    return not types.is_uint64(kind) and (
        types.is_primitive(kind)
        or types.is_decimal(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_null(kind)
    )
