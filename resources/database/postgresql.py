"""What every user of PostgreSQL needs: to be alone, and to leave a server that failed over."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, ExceptionContext, event

READ_ONLY = "25006"


def leave_read_only_servers(engine: Engine) -> None:
    """Take a server that became read-only for a lost one: its successor is elsewhere.

    A demoted server goes on to answer on the connections that it has, and refuses to write on
    them for ever.
    """

    @event.listens_for(engine, "handle_error")
    def _leave(context: ExceptionContext) -> None:
        error = context.original_exception
        # psycopg has the one name, psycopg2 the other.
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if state == READ_ONLY:
            context.is_disconnect = True


@contextmanager
def alone(engine: Engine, number: int) -> Iterator[None]:
    """Alone with this number among all processes that use the database; waits for the others."""
    # The lock is the session's; a transaction would stay open for as long as the work takes.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({number:d})")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({number:d})")
