"""What every pool of connections to PostgreSQL does about a server that failed over."""

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
