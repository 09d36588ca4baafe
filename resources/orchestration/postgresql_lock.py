"""A lock of all processes that share one PostgreSQL of Dagster."""

from collections.abc import Iterator
from contextlib import contextmanager

from engine.lease import AlreadyRunning

COLLECTING = 7235116


@contextmanager
def alone_on_postgresql(url: str) -> Iterator[None]:
    """Alone with the removal on the database; with no URL there is none to be alone on.

    Raises AlreadyRunning. The lock is the session's, and ends with this process.
    """
    if not url:
        yield
        return
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        asked = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({COLLECTING:d})")
        if not asked.scalar_one():
            raise AlreadyRunning("another `orrery gc` works on the same database")
        yield
