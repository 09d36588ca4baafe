"""Rows that can be read again and again in portions, so that no more than a few are in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from resources.datasets.remarks import Remark

ROWS_OF_PORTION = 262_144
PORTION_BYTES = 16 << 20


class RowStream(Protocol):
    """The rows of a source in plain types, each time in the same order."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        ...

    @property
    def rows(self) -> int:
        """Number of rows."""
        ...

    @property
    def is_still(self) -> bool:
        """Whether the rows cannot change between two reads."""
        ...

    @property
    def bookkeeping(self) -> frozenset[str]:
        """Columns that say where a row comes from; never features."""
        ...

    @property
    def remarks(self) -> Sequence[Remark]:
        """What is left out or converted; whole after all columns of all rows were read."""
        ...

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows from the first on, of the columns or of all, a portion at a time. Raises
        SourceUnreadable or SourceUnreachable."""
        ...


@dataclass(frozen=True)
class TableStream:
    """The rows of a table in memory, in one portion."""

    table: pa.Table
    remarks: Sequence[Remark] = ()
    bookkeeping: frozenset[str] = frozenset()
    is_still = True

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self.table.schema

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.table.num_rows

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The table, or the columns of it."""
        yield self.table if columns is None else self.table.select(columns)


def release_memory() -> None:
    """Give back what Arrow keeps of the memory of portions that are done."""
    pa.default_memory_pool().release_unused()


def rows_of_portion(columns: int) -> int:
    """How many rows of so many columns are in memory at once."""
    return max(1_024, min(ROWS_OF_PORTION, PORTION_BYTES // (8 * max(1, columns))))
