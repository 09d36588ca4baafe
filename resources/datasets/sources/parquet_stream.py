"""Large Parquet files, read in portions and by the steps of small ones."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from projects.dataset import Reading
from resources.datasets.remarks import Remark, merged
from resources.datasets.sources.declared_types import plain_as_declared, types_of
from resources.datasets.sources.listing import Found, FoundFile
from resources.datasets.sources.parquet_files import opened, without_index
from resources.datasets.sources.partitions import with_partitions
from resources.datasets.sources.union import FileTable, cast_column, joined
from resources.datasets.streams import rows_of_portion


class ParquetStream:
    """The rows of Parquet files in plain types."""

    def __init__(
        self,
        found: Found,
        read: Reading,
        label: str | None,
        known: Sequence[Remark] = (),
        bookkeeping: frozenset[str] = frozenset(),
        *,
        is_spooled: bool = False,
    ) -> None:
        """Reads the schemas of the files, which are steady. `known` is what there is to remark on
        them already; where they are spooled, no column of theirs has the numbers of rows that
        pandas keeps. Raises SourceUnreadable, SourceUnreachable or UnusableColumns."""
        self._found, self._read = found, read
        self.is_still = self._is_spooled = is_spooled
        self._seen: list[Remark] = []
        self.bookkeeping = bookkeeping
        empty, counts = [], {}
        for file in found.files:
            with opened(found.system, file) as parquet:
                schema, counts[file.name] = parquet.schema_arrow, parquet.metadata.num_rows
            empty.append(FileTable(file.name, self._plain(file, schema.empty_table(), [])))
        whole, about = joined(empty)
        absent = [r.model_copy(update={"count": counts[r.file or ""]}) for r in about]
        self._names = set(whole.column_names)
        # One row a file: what they have in common is known without any row of theirs.
        rows = pa.table({f.name: pa.nulls(len(empty), f.type) for f in whole.schema})
        rows, about = with_partitions(rows, found.files, [1] * len(empty), label)
        self._of_files, more = plain_as_declared(rows, read, found.files[0].name)
        self.rows = sum(counts.values())
        self._known = [*known, *absent, *about, *more]

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns; those without any value are of the type null."""
        return self._of_files.schema

    @property
    def remarks(self) -> Sequence[Remark]:
        """What was left out or converted, of the rows that were read."""
        return merged([*self._known, *self._seen])

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows of the files in their order, in portions. Raises SourceUnreadable or
        SourceUnreachable."""
        wanted = self.schema.names if columns is None else list(columns)
        schema = pa.schema([self.schema.field(name) for name in wanted])
        seen: list[Remark] = []
        for number, file in enumerate(self._found.files):
            for portion in self._portions(file, None if columns is None else wanted):
                table = self._plain(file, portion, seen)
                has, rows = set(table.column_names), FileTable(file.name, table)
                parts = [
                    cast_column(rows, name, schema.field(name).type)
                    if name in has
                    else self._of_file(number, name, table.num_rows)
                    for name in wanted
                ]
                yield pa.Table.from_arrays(parts, schema=schema)
        if columns is None:
            self._seen = seen

    def _portions(self, file: FoundFile, wanted: list[str] | None) -> Iterator[pa.Table]:
        """The rows as the file has them, in the columns that are wanted or all."""
        with opened(self._found.system, file) as parquet:
            schema = parquet.schema_arrow
            names = [name for name in schema.names if wanted is None or name in wanted]
            # One column at least tells the number of rows.
            names = names or schema.names[:1]
            for batch in parquet.iter_batches(rows_of_portion(len(names)), columns=names):
                yield pa.Table.from_batches([batch])

    def _plain(self, file: FoundFile, table: pa.Table, remarks: list[Remark]) -> pa.Table:
        if not self._is_spooled:
            table, about = without_index(table, self._read.keep)
            remarks += about
        table, about = plain_as_declared(table, self._read, file.name)
        remarks += about
        return table

    def _of_file(self, file: int, name: str, rows: int) -> pa.ChunkedArray:
        """The column in rows of a file that does not have it."""
        if name in self._names:
            return pa.chunked_array([pa.nulls(rows, self.schema.field(name).type)])
        # The value of a folder such as `year=2026`.
        return pa.chunked_array([pa.repeat(self._of_files.column(name)[file], rows)])


def files_are_steady(found: Found, read: Reading) -> bool:
    """Whether a portion of the Parquet files tells how all values are kept. Raises
    SourceUnreadable or SourceUnreachable."""
    for file in found.files:
        with opened(found.system, file) as parquet:
            schema = parquet.schema_arrow
        if not is_steady(schema, read):
            return False
    return True


def is_steady(schema: pa.Schema, read: Reading) -> bool:
    """Whether a portion of rows of the schema tells how all values are kept."""
    types = types_of(read, schema.names)
    return all(
        _is_steady(field.type)
        # The zone of text may stand in any row.
        and (types.get(field.name) != "timestamp" or pa.types.is_timestamp(field.type))
        for field in schema
    )


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
