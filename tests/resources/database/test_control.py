import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import accounts.tables
import scheduler.tables  # noqa: F401
from resources.database import control as control_module
from resources.database.control import (
    VERSION_TABLE,
    Control,
    ControlUnavailable,
    made_at,
    new_id,
    secret_bytes,
)
from resources.settings import CHECKOUT


def test_migrations_make_exactly_the_declared_tables(control):
    with control.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, accounts.tables.metadata) == []


def test_a_failed_transaction_leaves_nothing(control):
    with pytest.raises(ZeroDivisionError), control.write() as connection:
        connection.execute(
            text("INSERT INTO organizations VALUES ('acme', 'Acme', 1, 0)"),
        )
        raise ZeroDivisionError
    with control.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM organizations")).scalar() == 0


def test_processes_that_start_together_make_the_tables_once(tmp_path):
    code = (
        "import sys; from resources.database.control import Control; c = Control(sys.argv[1]);"
        "from sqlalchemy import text;"
        "exec('with c.read() as x: x.execute(text(\"SELECT * FROM jobs\"))')"
    )
    url = f"sqlite:///{tmp_path / 'control.db'}"
    started = [subprocess.Popen([sys.executable, "-c", code, url], cwd=CHECKOUT) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]


def test_a_locked_database_is_told_after_a_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(control_module, "BUSY_S", 0.2)
    path = tmp_path / "control.db"
    control = Control(f"sqlite:///{path}")
    with control.read():
        pass
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(ControlUnavailable, match="locked"), control.write():
        pass
    holder.execute("ROLLBACK")
    holder.close()
    with control.write():
        pass
    control.close()


def test_a_postgresql_that_is_away_is_told(tmp_path):
    control = Control(f"postgresql+psycopg://postgres:@/x?host={tmp_path}")
    with pytest.raises(ControlUnavailable), control.read():
        pass


def test_the_database_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "control.db"
    control = Control(f"sqlite:///{path}")
    with control.read():
        assert path.stat().st_mode & 0o077 == 0
    control.close()


def test_ids_are_unique_and_sorted_by_time():
    created = [new_id("job") for _ in range(1000)]
    assert len(set(created)) == 1000
    assert [i[:14] for i in created] == sorted(i[:14] for i in created)


def test_a_secret_is_made_once_and_kept_private(tmp_path):
    path, result = tmp_path / "secret", []
    threads = [threading.Thread(target=lambda: result.append(secret_bytes(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(result)) == 1
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_name_says_when_it_was_made():
    before = time.time()
    at = made_at(new_id("job"))
    # A name has milliseconds.
    assert before - 0.001 <= at <= time.time()


def test_a_name_of_an_earlier_version_says_when_it_was_made():
    assert made_at("job_01m8dv0tjdv41n2m0zp0k4v7ag") == 1_795_760_876.109
