"""Dagster's SQLite files, opened by one engine each."""

from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy.pool import NullPool

from resources.orchestration import sqlite_engines


def test_a_file_has_one_engine_and_another_file_another(tmp_path):
    sqlite_engines.keep_engines()
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    engine = sqlite_run_storage.create_engine(url, poolclass=NullPool)

    assert sqlite_run_storage.create_engine(url, poolclass=NullPool) is engine
    other = sqlite_run_storage.create_engine(f"{url}2", poolclass=NullPool)
    assert other is not engine
    patient = sqlite_run_storage.create_engine(url, poolclass=NullPool, connect_args={"timeout": 9})
    assert patient is not engine


def test_a_storage_whose_files_are_removed_is_made_anew(tmp_path):
    sqlite_engines.keep_engines()
    for _ in range(2):
        storage = DagsterSqliteStorage.from_local(str(tmp_path))
        assert storage.run_storage.get_runs() == []
        assert storage.event_log_storage.get_logs_for_run("nobody") == []
        assert storage.schedule_storage.all_instigator_state() == []
        for file in tmp_path.rglob("*.db*"):
            file.unlink()
