"""One SQLAlchemy engine for each of Dagster's SQLite files.

Dagster makes an engine for every query, which forgets how statements compile, and reads all its
migrations whenever a process opens the instance, which a sensor does at each tick. At rest that was
most of what a daemon cost.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from alembic.script import ScriptDirectory
from dagster._core.storage import sql
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine, create_engine

FILES_AT_ONCE = 64
"""Each dagster_run has a file of events of its own."""


@lru_cache(FILES_AT_ONCE)
def _engine(url: str, poolclass: type, timeout_s: float | None) -> Engine:
    arguments = {} if timeout_s is None else {"timeout": timeout_s}
    return create_engine(url, poolclass=poolclass, connect_args=arguments)


def _engine_of(
    url: str, *, poolclass: type, connect_args: Mapping[str, float] | None = None
) -> Engine:
    """In place of SQLAlchemy's function.

    Its pool keeps no connection: a file that is removed is made anew, and a forked process shares
    none.
    """
    return _engine(url, poolclass, (connect_args or {}).get("timeout"))


def keep_engines() -> None:
    """Let Dagster's SQLite storage use the same engine for each query of a file."""
    modules: list[Any] = [sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage]
    for module in modules:
        module.create_engine = _engine_of
    migrations: Any = sql
    migrations.ScriptDirectory = SimpleNamespace(from_config=lru_cache(ScriptDirectory.from_config))
