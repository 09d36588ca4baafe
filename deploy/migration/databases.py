"""One database: from SQLite files into the tables that the target's own migrations make."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    Engine,
    MetaData,
    Table,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from deploy.migration.rows import Fingerprint, Fingerprinting, in_postgresql, to_insert
from deploy.migration.sqlite_files import BATCH, SqliteFiles
from deploy.migration.verification import CannotMove, Compared

CONNECT_S = 10
OnProgress = Callable[[str, int], None]
"""Hears what is worked on and how much of it is done."""


@dataclass(frozen=True)
class Database:
    """Where one database comes from and where it goes."""

    name: str
    setting: str
    """Variable that names the target."""
    url: str
    source: SqliteFiles
    make: Callable[[], None]
    """Makes the target's tables where they are not."""
    version: str = "alembic_version"
    """Table that says which migrations ran."""
    left: frozenset[str] = frozenset()
    """Tables about the tables; they are made, not moved."""
    built_in: Mapping[str, str] = field(default_factory=dict)
    """Tables in which a new database has rows, which the source's replace, and the condition that
    is true of all other rows."""
    on_progress: OnProgress = field(default=lambda what, done: None)

    @cached_property
    def engine(self) -> Engine:
        """Connections to the target."""
        url = make_url(self.url).set(drivername="postgresql+psycopg")
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_S})

    @cached_property
    def tables(self) -> list[Table]:
        """The target's tables, each behind those it refers to. Raises CannotMove."""
        with self._answers():
            metadata = MetaData()
            metadata.reflect(self.engine)
        for table in metadata.tables.values():
            for column in table.columns:
                if isinstance(column.type, JSON):
                    # By default SQLAlchemy writes a missing document as the JSON value `null`.
                    column.type = JSON(none_as_null=True)
        return [t for t in metadata.sorted_tables if t.name not in {self.version, *self.left}]

    def prepare(self) -> None:
        """Make the target's tables, and see that they are those of the source.

        Raises CannotMove.
        """
        with self._answers():
            self.make()
        self.require_same_tables()

    def require_same_tables(self) -> None:
        """See that both sides have the same tables. Raises CannotMove."""
        with self._answers():
            there = inspect(self.engine).has_table(self.version)
        if not there:
            raise CannotMove(
                f"{self.name}: the database of {self.setting} has no tables; run `orrery migrate` "
                "without --check first"
            )
        for table in self.tables:
            ours = {c.name for c in table.columns if c.computed is None}
            if other := ours ^ self.source.columns(table):
                raise CannotMove(
                    f"{self.name}: the table {table.name} differs in {', '.join(sorted(other))}; "
                    "expected the tables of one version on both sides; start `orrery up` once on "
                    "the state folder with this version, stop it, and repeat"
                )
        with self.engine.connect() as connection:
            new = connection.execute(text(f"SELECT version_num FROM {self.version}")).scalar_one()
        old = self.source.version(self.version)
        if old != new:
            raise CannotMove(
                f"{self.name}: got version {old} in the state folder and {new} in "
                f"{self.setting}; expected one version; start `orrery up` once on the state "
                "folder with this version, stop it, and repeat"
            )

    def is_moved(self) -> bool:
        """Whether everything is there already; False for an empty target.

        Raises CannotMove for a target that holds something else.
        """
        filled = [table.name for table in self.tables if self._is_filled(table)]
        if not filled:
            return False
        other = [each for each in self.compare() if not each.is_same]
        if other:
            raise CannotMove(
                f"{self.name}: the database of {self.setting} is not empty: it has rows in "
                f"{', '.join(filled[:5])}, and {other[0].place} is not what the state folder has; "
                "expected an empty database, or what an earlier `orrery migrate` left; name a new "
                "one"
            )
        return True

    def _is_filled(self, table: Table) -> bool:
        others = text(self.built_in.get(table.name, "true"))
        with self._answers(), self.engine.connect() as connection:
            row = connection.execute(select(1).select_from(table).where(others).limit(1))
            return row.first() is not None

    def copy(self) -> None:
        """Copy every row in one transaction. Raises CannotMove; then nothing was written."""
        with self._answers("nothing of it was written"), self.engine.begin() as connection:
            # Rows that refer to others go before those.
            for table in reversed(self.tables):
                if table.name in self.built_in:
                    connection.execute(delete(table))
            for table in self.tables:
                self._copy_table(connection, table)
                _continue_numbers(connection, table)

    def _copy_table(self, connection: Connection, table: Table) -> None:
        convert, done = to_insert(table), 0
        waiting = self.source.rows(table)
        while rows := list(islice(waiting, BATCH)):
            connection.execute(insert(table), [convert(row) for row in rows])
            done += len(rows)
            self.on_progress(f"{self.name}: {table.name}", done)

    def compare(self) -> Iterator[Compared]:
        """Every table of both sides, row by row. Raises CannotMove."""
        for table in self.tables:
            old, new = Fingerprinting(table), Fingerprinting(table)
            for row in self.source.rows(table):
                old.add(row)
            for row in self._rows(table):
                new.add(row)
            yield _compared(f"{self.name}: {table.name}", old.value(), new.value())
            self.on_progress(f"{self.name}: comparing {table.name}", new.value().rows)

    def _rows(self, table: Table) -> Iterator[Any]:
        columns = in_postgresql(table)
        with self._answers(), self.engine.connect() as connection:
            streamed = connection.execution_options(yield_per=BATCH)
            yield from streamed.execute(select(*columns)).mappings()

    @contextmanager
    def _answers(self, then: str = "") -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            reason = str(error.orig).strip().split("\n", maxsplit=1)[0]
            raise CannotMove(
                f"{self.name}: the database of {self.setting} refused: {reason}"
                f"{'; ' if then else ''}{then}"
            ) from error

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def _continue_numbers(connection: Connection, table: Table) -> None:
    """New rows are numbered behind those that were copied."""
    for column in table.primary_key.columns:
        sequence = connection.execute(
            select(func.pg_get_serial_sequence(f'"{table.name}"', column.name))
        ).scalar()
        if sequence is not None:
            connection.execute(select(func.setval(sequence, func.max(column))).select_from(table))


def _compared(place: str, old: Fingerprint, new: Fingerprint) -> Compared:
    return Compared(place, old.rows, new.rows, old.sha256, new.sha256)
