"""Threads of one process that make databases at the same time."""

import threading

import dagster as dg
from sqlalchemy import create_engine, inspect

from resources.database.migration_lock import migrate_one_at_a_time
from resources.tracking.database import create_database

ROUNDS = 2


def test_dagster_may_open_files_of_events_while_mlflow_makes_its_tables(tmp_path):
    migrate_one_at_a_time()
    done, failed = threading.Event(), []

    def keep_opening() -> None:
        number = 0
        while not done.is_set():
            number += 1
            folder = tmp_path / f"dagster{number}"
            folder.mkdir()
            try:
                dg.DagsterInstance.local_temp(str(folder)).dispose()
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=keep_opening)
    thread.start()
    try:
        for number in range(ROUNDS):
            create_database(f"sqlite:///{tmp_path}/mlflow{number}.db")
    finally:
        done.set()
        thread.join()
    assert not failed
    tables = [
        set(inspect(create_engine(f"sqlite:///{tmp_path}/mlflow{n}.db")).get_table_names())
        for n in range(ROUNDS)
    ]
    assert all("registered_models" in result and result == tables[0] for result in tables)
