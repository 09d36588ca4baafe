"""MLflow's tables: created once by the first process, and migrated by the gateway.

timeout: none; a migration takes as long as the database is large.
retry: what failed is tried at the next start.
cancel, partial write: SQLite's file is made and migrated under another name; in PostgreSQL a
    migration is one transaction.
duplicate: one process makes or migrates, and others wait for it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import lease
from resources.database.postgresql import alone

SQLITE = "sqlite:///"
MAKING = 7235116


def create_database(uri: str) -> None:
    """Make all tables, if the URI names a database that has none; a server's is its own."""
    if uri.startswith("postgresql"):
        with _opened(uri) as engine:
            _create_tables(engine)
    if not uri.startswith(SQLITE) or _file(uri).exists():
        return
    with lease.alone(_file(uri).with_suffix(".lock")):
        if not _file(uri).exists():
            _write_draft(uri)


def upgrade_database(uri: str) -> None:
    """Bring the tables to the installed version of MLflow, which refuses to work on older ones."""
    create_database(uri)
    if uri.startswith("postgresql"):
        with _opened(uri) as engine:
            if not _is_current(engine):
                with alone(engine, MAKING):
                    _upgrade(engine)
    elif uri.startswith(SQLITE):
        with _opened(uri) as engine:
            is_current = _is_current(engine)
        if not is_current:
            with lease.alone(_file(uri).with_suffix(".lock")):
                _write_draft(uri)


def _create_tables(engine: Any) -> None:
    from mlflow.store.db.utils import _all_tables_exist, _initialize_tables

    if _all_tables_exist(engine):
        return
    # MLflow's own lock is a file, which processes on other machines do not see.
    with alone(engine, MAKING):
        if not _all_tables_exist(engine):
            _initialize_tables(engine)


def _write_draft(uri: str) -> None:
    """Put a database with today's tables into its place, with what the one before held."""
    from mlflow.store.db.utils import _initialize_tables

    path = _file(uri)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    if path.exists():
        # MLflow does not promise that a migration is a transaction, so a copy is migrated.
        shutil.copy(path, draft)
    # A connection that outlives the renaming finds its database moved, and only reads.
    with _opened(f"{SQLITE}{draft}") as engine:
        _upgrade(engine) if path.exists() else _initialize_tables(engine)
    draft.replace(path)


def _is_current(engine: Any) -> bool:
    from mlflow.store.db.utils import _get_latest_schema_revision, _get_schema_version

    return _get_schema_version(engine) == _get_latest_schema_revision()


def _upgrade(engine: Any) -> None:
    from mlflow.store.db.utils import _upgrade_db

    if not _is_current(engine):
        _upgrade_db(engine)


@contextmanager
def _opened(uri: str) -> Iterator[Any]:
    from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry

    engine = create_sqlalchemy_engine_with_retry(uri)
    try:
        yield engine
    finally:
        engine.dispose()


def _file(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE))
