"""The declared columns of a stream, and what there is to say of its texts."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from engine.packed import columns_for, unpacked
from projects.dataset import Dataset
from resources.datasets.columns import require_distinct, with_types
from resources.datasets.remarks import Remark, merged
from resources.datasets.sources.declared_types import as_declared, is_kept, types_of
from resources.datasets.sources.rows import SourceRows
from resources.datasets.sources.text_columns import NumbersInText
from resources.datasets.sources.text_values import nowhere
from resources.datasets.streams import RowStream


class DeclaredStream:
    """The rows of a stream in plain types, in the declared columns."""

    def __init__(self, inner: RowStream, declared: Dataset) -> None:
        """Raises SourceUnreadable or UnusableColumns."""
        self._inner, self._declared = inner, declared
        empty = SourceRows(inner.schema.empty_table(), tuple(inner.remarks))
        kept = as_declared(empty, declared).table
        require_distinct(kept.column_names)
        table, remarks = with_types(kept, declared.label)
        self.schema: pa.Schema = table.schema
        self.rows, self.bookkeeping, self.is_still = inner.rows, inner.bookkeeping, inner.is_still
        self._empty = [r.model_copy(update={"count": inner.rows}) for r in remarks]
        self._of_texts: list[Remark] = []

    @property
    def remarks(self) -> Sequence[Remark]:
        """What was left out or converted, of the rows that were read."""
        of_inner = [
            r
            for r in self._inner.remarks
            if r.about == "file" or is_kept(self._declared, r.subject)
        ]
        return merged([*of_inner, *self._of_texts, *self._empty])

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows in portions. Raises as the stream does."""
        wanted = self.schema.names if columns is None else list(columns)
        schema = pa.schema([self.schema.field(name) for name in wanted])
        texts = self._texts() if columns is None else {}
        row = 0
        names = None if columns is None else columns_for(self._inner.schema, columns)
        for table in self._inner.tables(names):
            for name, numbers in texts.items():
                numbers.add(table.column(name), row)
            row += table.num_rows
            rows = unpacked(table, wanted)
            yield rows if rows.schema == schema else rows.cast(schema)
        if columns is None:
            said = {remark.subject for remark in self._inner.remarks}
            found = [n.remarks(nowhere) for name, n in texts.items() if name not in said]
            self._of_texts = [remark for remarks in found for remark in remarks]

    def _texts(self) -> dict[str, NumbersInText]:
        """The columns of text about which their reader has said nothing yet."""
        said = {
            *types_of(self._declared.read, self.schema.names),
            *(remark.subject for remark in self._inner.remarks),
        }
        return numbers_in_texts(self._inner.schema, set(self.schema.names) - said, self._declared)


def numbers_in_texts(
    schema: pa.Schema, names: set[str], declared: Dataset
) -> dict[str, NumbersInText]:
    """What is to be learned of the numbers in the columns that are text, by name."""
    if declared.source.startswith("images:"):
        return {}
    return {
        field.name: NumbersInText(field.name, field.name == declared.label)
        for field in schema
        if field.name in names and pa.types.is_string(field.type)
    }
