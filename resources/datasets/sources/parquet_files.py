"""Parquet files, each with its own schema."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa

from projects.dataset import Reading
from resources.datasets.remarks import Remark
from resources.datasets.sources.declared_types import plain_as_declared
from resources.datasets.sources.listing import FoundFile, answering
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.sources.union import FileTable, joined

INDEX = re.compile(r"^__index_level_\d+__$")
"""Name of a column in which pandas keeps the numbers of rows."""


def read_parquet(
    system: Any, files: list[FoundFile], read: Reading
) -> tuple[pa.Table, list[int], list[Remark]]:
    """All rows of the files, the number of rows of each, and what was left out or converted.

    Raises SourceUnreadable or SourceUnreachable.
    """
    tables, remarks = [], []
    for file in files:
        with opened(system, file) as parquet:
            table = parquet.read()
        table, about = without_index(table, read.keep)
        # Before files are joined: a declared type may be the one that holds the values of all.
        table, more = plain_as_declared(table, read, file.name)
        tables.append(FileTable(file.name, table))
        remarks += [*about, *more]
    table, more = joined(tables)
    return table, [t.table.num_rows for t in tables], [*remarks, *more]


@contextmanager
def opened(system: Any, file: FoundFile) -> Iterator[Any]:
    """The file as a pyarrow.parquet.ParquetFile; what reading it raises becomes SourceUnreadable
    or SourceUnreachable."""
    import pyarrow.parquet as pq

    try:
        with ExitStack() as stack:
            stack.enter_context(answering(f"{file.name} cannot be read"))
            source = file.path
            if system is not None:
                source = stack.enter_context(system.open_input_file(file.path))
            # Buffered ahead, all that was read would stay in memory until the end.
            yield stack.enter_context(pq.ParquetFile(source, pre_buffer=False))
    except SourceUnreadable as error:
        raise SourceUnreadable(f"{error}; expected a whole file of its format") from error


def without_index(table: pa.Table, keep: list[str]) -> tuple[pa.Table, list[Remark]]:
    """The table without the numbers of rows that pandas keeps, and a remark on them."""
    remarks = []
    for name in [n for n in table.column_names if INDEX.match(n) and n not in keep]:
        reason = "the numbers of the rows, which pandas keeps, are no feature"
        remarks.append(Remark(subject=name, action="left_out", count=table.num_rows, reason=reason))
        table = table.drop_columns([name])
    return table, remarks
