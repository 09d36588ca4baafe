"""The SQLite files of the embedded default, read as one database."""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Engine,
    ExceptionContext,
    NullPool,
    Table,
    create_engine,
    event,
    inspect,
    select,
)

from deploy.migration.addresses import Addresses
from deploy.migration.rows import in_sqlite, texts_of
from deploy.migration.verification import CannotMove

BATCH = 2_000


class SqliteFiles:
    """Tables in one file or several, with addresses as they are in the new place."""

    def __init__(
        self, files: Iterable[Path], addresses: Addresses, unchanged: frozenset[str] = frozenset()
    ) -> None:
        self._addresses, self._unchanged = addresses, unchanged
        self._file_of: dict[str, Path] = {}
        for file in files:
            if file.exists():
                for name in inspect(read_only(file)).get_table_names():
                    self._file_of.setdefault(name, file)

    @property
    def is_there(self) -> bool:
        """Whether there is any file with a table."""
        return bool(self._file_of)

    def columns(self, table: Table) -> set[str]:
        """Names of the table's columns; empty where there is no such table."""
        if table.name not in self._file_of:
            return set()
        columns = inspect(read_only(self._file_of[table.name])).get_columns(table.name)
        return {column["name"] for column in columns if "computed" not in column}

    def version(self, table: str) -> str:
        """What the version table says."""
        if table not in self._file_of:
            return "none"
        with read_only(self._file_of[table]).connect() as connection:
            return connection.exec_driver_sql(f"SELECT version_num FROM {table}").scalar_one()

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        """Every row, as it is to be in the new place."""
        for row in self.rows_in(self._file_of[table.name], table):
            yield self.moved(table, row)

    def rows_in(self, file: Path, table: Table) -> Iterator[dict[str, Any]]:
        """Every row of the table in one of the files, as it is, in the order of its key."""
        held = in_sqlite(table)
        key = [held.c[column.name] for column in table.primary_key.columns]
        with read_only(file).connect() as connection:
            yield from map(
                dict,
                connection.execution_options(yield_per=BATCH)
                .execute(select(held).order_by(*key))
                .mappings(),
            )

    def moved(self, table: Table, row: dict[str, Any]) -> dict[str, Any]:
        """The row as it is to be in the new place."""
        if table.name in self._unchanged:
            return row
        for name in texts_of(table):
            if row[name]:
                row[name] = self._addresses.rewritten(row[name])
        return row


def read_only(file: Path) -> Engine:
    """The SQLite file, which stays as it is. What is asked of it raises CannotMove."""
    uri = f"{file.absolute().as_uri()}?mode=ro"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool
    )

    @event.listens_for(engine, "handle_error")
    def _tell(context: ExceptionContext) -> None:
        raise CannotMove(
            f"{file} cannot be read: {context.original_exception}; expected a whole SQLite file; "
            "restore it from a backup"
        )

    return engine
