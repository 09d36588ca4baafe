"""One table of the tables of many files, by the names of their columns."""

from typing import NamedTuple

import pyarrow as pa

from engine.packed import is_packed, packed_type
from resources.datasets.remarks import Remark
from resources.datasets.sources.rows import SourceUnreadable


class FileTable(NamedTuple):
    """The rows of one file."""

    name: str
    table: pa.Table


def joined(tables: list[FileTable]) -> tuple[pa.Table, list[Remark]]:
    """All rows in the order of the files, with nulls where a file lacks a column, and a remark.

    Integers and decimals are one column of decimals. Raises SourceUnreadable when a column is of
    types that no type holds both, or two files have no column in common.
    """
    if len(tables) == 1:
        return tables[0].table, []
    owner, kinds = _kinds_of(tables)
    schema = pa.schema(list(kinds.items()))
    parts, remarks = [], []
    for file in tables:
        columns = []
        for name, kind in kinds.items():
            if name in file.table.column_names:
                columns.append(cast_column(file, name, kind))
            else:
                columns.append(pa.chunked_array([pa.nulls(file.table.num_rows, kind)]))
                remarks.append(_absent(file, name, owner[name]))
        parts.append(pa.Table.from_arrays(columns, schema=schema))
    return pa.concat_tables(parts), remarks


def _kinds_of(tables: list[FileTable]) -> tuple[dict[str, str], dict[str, pa.DataType]]:
    """The file that has each column first, and the type that holds the values of all files."""
    owner: dict[str, str] = {}
    kinds: dict[str, pa.DataType] = {}
    spelt: dict[str, str] = {}
    for file in tables:
        if owner and not owner.keys() & set(file.table.column_names):
            raise SourceUnreadable(
                f"{file.name} has no column of {tables[0].name}: it has "
                f"{_listed(file.table.column_names)}, expected {_listed(list(kinds))}"
            )
        for field in file.table.schema:
            other = spelt.setdefault(field.name.casefold(), field.name)
            if other != field.name:
                raise SourceUnreadable(
                    f"{file.name} names a column {field.name!r} and {owner[other]} names it "
                    f"{other!r}; expected names that differ in any case: rename one"
                )
            owner.setdefault(field.name, file.name)
            before = kinds.get(field.name, field.type)
            kinds[field.name] = _holding_both(field.name, before, field.type, owner, file.name)
    return owner, kinds


def _holding_both(
    name: str, before: pa.DataType, kind: pa.DataType, owner: dict[str, str], file: str
) -> pa.DataType:
    if before == kind:
        return kind
    if is_packed(before) and is_packed(kind) and before.list_size == kind.list_size:
        return packed_type(pa.float32(), kind.list_size)
    fields = [pa.schema([(name, before)]), pa.schema([(name, kind)])]
    try:
        return pa.unify_schemas(fields, promote_options="permissive").field(name).type
    except pa.ArrowException as error:
        raise SourceUnreadable(
            f"{file}: column {name!r} is of type {kind}, and of type {before} in {owner[name]}; "
            "expected one type in every file: convert one, or read both by an sql: query"
        ) from error


def cast_column(file: FileTable, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    """The column of the file in the type. Raises SourceUnreadable."""
    column = file.table.column(name)
    if column.type == kind:
        return column
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise SourceUnreadable(
            f"{file.name}: column {name!r} is of type {column.type} and "
            f"cannot be read as {kind}, its type over all files: {error}"
        ) from error


def _absent(file: FileTable, name: str, owner: str) -> Remark:
    reason = f"files lack the column that {owner} has; their rows have nulls in it"
    return Remark(
        subject=name, action="left_out", count=file.table.num_rows, reason=reason, file=file.name
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + ", ..." * (len(names) > 8)
