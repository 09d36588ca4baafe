"""What a reader gives, and how it refuses."""

from dataclasses import dataclass, replace
from typing import Self

import pyarrow as pa

from resources.datasets.remarks import Remark


class SourceUnreadable(Exception):
    """A source does not give a table; says which file, what was found and what was expected."""


class SourceUnreachable(OSError):
    """A source does not answer at the moment; the same call may work later."""


@dataclass(frozen=True)
class SourceRows:
    """The rows of a source, and what they do not hold as the source has it."""

    table: pa.Table
    remarks: tuple[Remark, ...] = ()
    bookkeeping: frozenset[str] = frozenset()
    """Columns that say where a row comes from; never features."""

    def of(self, table: pa.Table, *more: Remark) -> Self:
        """The same rows as another table, with more remarks."""
        return replace(self, table=table, remarks=(*self.remarks, *more))
