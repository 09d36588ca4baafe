"""Dagster's state lies in PostgreSQL, over few connections, and outlives the server's restart."""

import dagster as dg
import pytest
from dagster import DagsterInstance
from sqlalchemy import create_engine, text

from resources.settings import CHECKOUT
from tests.control import new_database


@dg.asset
def rows():
    return dg.MaterializeResult(metadata={"rows": 3})


@pytest.fixture
def database(settings, postgresql, monkeypatch):
    url = new_database(postgresql)
    monkeypatch.setenv("ORRERY_DAGSTER_STORAGE", url)
    return url


@pytest.fixture
def instance(database):
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        yield instance


def sessions(url: str) -> int:
    """Connections that the database has ever had."""
    engine = create_engine(url.replace(url.split("/")[3].split("?", maxsplit=1)[0], "postgres"))
    name = url.split("/")[3].split("?", maxsplit=1)[0]
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        result = connection.execute(
            text("SELECT sessions FROM pg_stat_database WHERE datname = :name"), {"name": name}
        ).scalar_one()
    engine.dispose()
    return result


def test_a_dagster_run_is_recorded_in_postgresql(instance, database):
    run_id = dg.materialize([rows], instance=instance).run_id

    engine = create_engine(database)
    with engine.connect() as connection:
        status = connection.execute(
            text("SELECT status FROM runs WHERE run_id = :id"), {"id": run_id}
        ).scalar_one()
    engine.dispose()
    assert status == "SUCCESS"


def test_a_dagster_run_takes_at_most_two_connections(instance, database):
    dg.materialize([rows], instance=instance)
    before = sessions(database)

    dg.materialize([rows], instance=instance)

    assert sessions(database) - before <= 2


def test_two_processes_that_start_together_create_the_tables_once(database):
    def tables():
        with DagsterInstance.from_config(str(CHECKOUT)) as instance:
            return instance.get_runs_count()

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        counts = [each.result() for each in [pool.submit(tables) for _ in range(4)]]

    assert counts == [0, 0, 0, 0]


def test_connections_that_a_restart_broke_are_replaced(instance, database):
    dg.materialize([rows], instance=instance)
    engine = create_engine(database)
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()

    assert dg.materialize([rows], instance=instance).success
