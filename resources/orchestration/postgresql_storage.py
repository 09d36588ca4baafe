"""Dagster's storage in PostgreSQL: one small pool of connections for runs, events and schedules.

Dagster opens a connection a query; a dagster_run of one asset opens 32, and each costs more than
what is asked on it. The pool needs private names of Dagster, whose version is pinned.

timeout: `CONNECT_S` for a connection.
retry: a pooled connection that broke is replaced before it is used (a restarted or failed-over
    server), and Dagster repeats a failed connection five times; a query that was cut off fails
    its dagster_run, which run monitoring starts again.
cancel: every statement is a transaction of its own.
duplicate: events are appended once; the retry of a dagster_run has an id of its own.
partial write: a statement is whole or absent.
"""

from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.engine import make_url

from resources.database.postgresql import alone, leave_read_only_servers

CONNECT_S = 10
# The daemon asks from many threads at once, and times out where the pool is too small.
MOST_MORE = 20
RECYCLE_S = 1_800
CREATING = 7235115
TABLES = {"runs", "event_logs", "job_ticks"}


def open_storage(url: str, inst_data: ConfigurableClassData | None) -> DagsterPostgresStorage:
    """The storage at a PostgreSQL URL, whose tables are there."""
    # Dagster needs psycopg2: it uses a connection as a context, which psycopg 3 then closes.
    named = make_url(url).set(drivername="postgresql+psycopg2")
    address = named.render_as_string(hide_password=False)
    engine = create_engine(
        named,
        # As in the connections that Dagster opens itself.
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=MOST_MORE,
        pool_pre_ping=True,
        pool_recycle=RECYCLE_S,
        connect_args={"connect_timeout": CONNECT_S},
    )
    leave_read_only_servers(engine)
    _create_tables(engine, address)
    storage = DagsterPostgresStorage(address, should_autocreate_tables=False, inst_data=inst_data)
    _share(engine, storage)
    return storage


def _create_tables(engine: Engine, address: str) -> None:
    """Create the tables where they are not, one process after the other."""
    if set(inspect(engine).get_table_names()) >= TABLES:
        return
    with alone(engine, CREATING):
        DagsterPostgresStorage(address)


def _share(engine: Engine, storage: DagsterPostgresStorage) -> None:
    parts: list[Any] = [
        storage.run_storage,
        storage.event_log_storage,
        storage.schedule_storage,
    ]
    for part in parts:
        # Dagster has no setting for the pool of its storage.
        part._engine = engine
