"""The rows of a source with those of its watched files."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from engine.packed import columns_for, unpacked, unpacked_schema
from projects.dataset import Dataset
from resources.datasets.remarks import Remark, merged
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.sources.union import FileTable, cast_column, joined
from resources.datasets.streams import RowStream


class UnpackedStream:
    """The rows of a stream in the columns that its own stand for."""

    def __init__(self, inner: RowStream) -> None:
        self._inner, self.schema = inner, unpacked_schema(inner.schema)
        self.rows, self.bookkeeping, self.is_still = inner.rows, inner.bookkeeping, inner.is_still

    @property
    def remarks(self) -> Sequence[Remark]:
        """What is left out or converted."""
        return self._inner.remarks

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows in portions. Raises as the stream does."""
        names = None if columns is None else columns_for(self._inner.schema, columns)
        for table in self._inner.tables(names):
            yield unpacked(table, columns)


class AppendedStream:
    """The rows of two streams one after the other, in the columns of the first."""

    def __init__(self, source: RowStream, watched: RowStream, declared: Dataset) -> None:
        """Raises SourceUnreadable where a column is missing, or is of types that no type holds."""
        known, others = source.schema.names, watched.schema.names
        if missing := sorted(set(known) - set(others)):
            raise SourceUnreadable(
                f"the files watched in {declared.watch} lack {', '.join(missing[:8])}; "
                f"expected {', '.join(known[:8])}{', ...' * (len(known) > 8)}"
            )
        self._parts = {f"{declared.source:.80}": source, f"watched {declared.watch}": watched}
        empty = [
            FileTable(name, part.schema.empty_table().select(known))
            for name, part in self._parts.items()
        ]
        self.schema: pa.Schema = joined(empty)[0].schema
        self.rows = source.rows + watched.rows
        self.bookkeeping = source.bookkeeping
        self.is_still = source.is_still and watched.is_still
        reason = f"the source {declared.source:.80} has no such column, and rows watched for it do"
        self._unknown = [
            Remark(subject=name, action="left_out", count=watched.rows, reason=reason)
            for name in others
            if name not in known
        ]

    @property
    def remarks(self) -> Sequence[Remark]:
        """What is left out or converted of either."""
        both = [remark for part in self._parts.values() for remark in part.remarks]
        return merged([*both, *self._unknown])

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows of the first stream, and then those of the second. Raises as they do."""
        wanted = self.schema.names if columns is None else list(columns)
        schema = pa.schema([self.schema.field(name) for name in wanted])
        for name, part in self._parts.items():
            for table in part.tables(columns):
                rows = FileTable(name, table)
                values = [cast_column(rows, each.name, each.type) for each in schema]
                yield pa.Table.from_arrays(values, schema=schema)
