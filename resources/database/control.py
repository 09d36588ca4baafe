"""The adapter to the control database: accounts, jobs, callbacks, audit; SQLite or PostgreSQL.

timeout: a writer waits `BUSY_S` for the lock of SQLite, a connection `CONNECT_S` for PostgreSQL.
retry: none here; `ControlUnavailable` becomes 503 with `Retry-After` at the gateway.
cancel: a transaction that does not end well is rolled back.
duplicate: unique keys; what must happen once is inserted in the transaction that it belongs to.
partial write: a transaction is whole or absent; SQLite's log is write-ahead and synchronous.
"""

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from uuid_utils import uuid7

from engine import lease
from resources.database.lock import OPENING_LOCK
from resources.database.postgresql import leave_read_only_servers

BUSY_S = 5.0
CONNECT_S = 5
POOL = 24
MIGRATIONS = Path(__file__).with_name("migrations")
# Not Alembic's default name, which Dagster and MLflow use for theirs.
VERSION_TABLE = "orrery_version"
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)
"""Tables of every room that keeps something in the control database."""


class ControlUnavailable(Exception):
    """The control database is locked or gone; the same call may work later."""


class Control:
    """Connections to the control database; its tables are there from the first use on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @property
    def is_local(self) -> bool:
        """Whether a read is one of a file on this machine, and takes no time to speak of."""
        return self.url.startswith("sqlite")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that reads. Raises ControlUnavailable."""
        with self._translated_errors(), self._connected().connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back by an exception.

        On SQLite it holds the writer's lock from its start, so that what it read still stands
        when it writes. Raises ControlUnavailable.
        """
        engine = self._connected().execution_options(writes=True)
        with self._translated_errors(), engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def _connected(self) -> Engine:
        with self._lock:
            if self._engine is None:
                engine = _engine(self.url)
                with self._translated_errors(), OPENING_LOCK:
                    migrate(engine, self.url)
                # Kept only now: after a migration that failed, the next call tries it again.
                self._engine = engine
            return self._engine

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise ControlUnavailable(f"the control database does not answer: {error.orig}") from (
                error
            )
        except DBAPIError as error:
            if error.connection_invalidated:
                raise ControlUnavailable("the connection to the control database broke") from error
            raise


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        remote = create_engine(
            url,
            pool_size=POOL,
            max_overflow=POOL,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_S},
        )
        leave_read_only_servers(remote)
        return remote
    Path(url.partition("///")[2]).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=POOL,
        max_overflow=POOL,
        # Otherwise sqlite3 begins transactions itself, and only before the first write.
        connect_args={"timeout": BUSY_S, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        for pragma in (
            "journal_mode = WAL",
            # With NORMAL, a power cut may take the last transactions of a write-ahead log.
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {BUSY_S * 1000:.0f}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def migrate(engine: Engine, url: str) -> None:
    """Bring the tables to the newest version; of several processes the first one does it."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    if url.startswith("sqlite"):
        path = Path(url.partition("///")[2])
        with lease.alone(path.with_suffix(".lock")), engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        path.chmod(0o600)
        return
    with engine.begin() as connection:
        # Two processes that start together wait for each other here.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7235114)")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def new_id(kind: str) -> str:
    """A name such as `job_01jx…`: a UUIDv7 (RFC 9562) in Crockford's base 32, so that names are
    sorted by when they were made."""
    number = uuid7().int
    letters = (CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
    return f"{kind}_{''.join(letters)}"


def made_at(id: str) -> float:
    """When the name of `new_id` was made, in seconds since the epoch."""
    number = 0
    for letter in id.rpartition("_")[2]:
        number = number << 5 | CROCKFORD.index(letter)
    return (number >> 80) / 1000


def secret_bytes(path: Path) -> bytes:
    """The secret kept in the file, readable by its owner alone; made at first use."""
    if path.exists():
        return path.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with lease.alone(path.with_suffix(".lock")):
        # Another process may have made it while this one waited for the lock.
        if not path.exists():
            draft = path.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            # Created with its final mode, because before a later chmod others could read it.
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as f:
                f.write(secrets.token_bytes(32))
            draft.replace(path)
        return path.read_bytes()
