"""Parquet files, each with its own schema."""

import re
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
        table, about = _without_index(_read(system, file), read.keep)
        # Before files are joined: a declared type may be the one that holds the values of all.
        table, more = plain_as_declared(table, read, file.name)
        tables.append(FileTable(file.name, table))
        remarks += [*about, *more]
    table, more = joined(tables)
    return table, [t.table.num_rows for t in tables], [*remarks, *more]


def _read(system: Any, file: FoundFile) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        with answering(f"{file.name} cannot be read"):
            if system is None:
                return pq.ParquetFile(file.path).read()
            with system.open_input_file(file.path) as opened:
                return pq.ParquetFile(opened).read()
    except SourceUnreadable as error:
        raise SourceUnreadable(f"{error}; expected a whole file of its format") from error


def _without_index(table: pa.Table, keep: list[str]) -> tuple[pa.Table, list[Remark]]:
    remarks = []
    for name in [n for n in table.column_names if INDEX.match(n) and n not in keep]:
        reason = "the numbers of the rows, which pandas keeps, are no feature"
        remarks.append(Remark(subject=name, action="left_out", count=table.num_rows, reason=reason))
        table = table.drop_columns([name])
    return table, remarks
