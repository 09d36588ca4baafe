"""Migrations of databases, one at a time in a process.

Alembic keeps what it migrates in module globals: two threads that migrate at once write each
other's tables. Dagster migrates in threads of its own, whenever a dagster_run gets its file of
events.
"""

import threading
from typing import Any

from alembic.runtime.environment import EnvironmentContext

_MIGRATING = threading.RLock()
"""Taken last: nothing else is taken while it is held."""
_enter, _exit = EnvironmentContext.__enter__, EnvironmentContext.__exit__


def migrate_one_at_a_time() -> None:
    """Let every migration of this process wait for the one that runs, started by any library."""
    # No subclass: Alembic finds the globals of a migration by the class itself.
    EnvironmentContext.__enter__ = _enter_alone
    EnvironmentContext.__exit__ = _exit_alone


def _enter_alone(self: EnvironmentContext) -> EnvironmentContext:
    _MIGRATING.acquire()
    return _enter(self)


def _exit_alone(self: EnvironmentContext, *raised: Any) -> None:
    try:
        _exit(self, *raised)
    finally:
        _MIGRATING.release()
