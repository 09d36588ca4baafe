"""A PostgreSQL server that is killed, or gives way to its standby, costs a retry, and nothing that
was written."""

import threading
from contextlib import contextmanager

import dagster as dg
import pytest
from dagster import DagsterInstance
from sqlalchemy import text

from resources.database.control import Control, ControlUnavailable
from resources.settings import CHECKOUT
from tests.control import new_database, postgresql_in
from tests.postgresql_server import PostgresqlServer
from tests.waiting import until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of this module's own."""
    folder = tmp_path_factory.mktemp("pgr")
    with postgresql_in(folder):
        yield PostgresqlServer(folder)


@pytest.fixture
def pair(tmp_path_factory):
    """A server and its standby."""
    folder = tmp_path_factory.mktemp("pgp")
    with postgresql_in(folder):
        first = PostgresqlServer(folder)
        standby = first.with_standby(folder.with_name(f"{folder.name}s"))
        yield first, standby
        standby.kill()


@dg.asset
def rows():
    return dg.MaterializeResult(metadata={"rows": 3})


def test_dagster_goes_on_after_the_server_was_killed(server, settings, monkeypatch):
    monkeypatch.setenv("ORRERY_DAGSTER_STORAGE", new_database(server.url()))
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        before = dg.materialize([rows], instance=instance)

        server.restart()

        after = dg.materialize([rows], instance=instance)
        runs = {run.run_id: run.status.value for run in instance.get_runs()}
    assert runs == {before.run_id: "SUCCESS", after.run_id: "SUCCESS"}


def test_dagster_goes_on_at_the_standby_that_was_promoted(pair, settings, monkeypatch):
    first, standby = pair
    monkeypatch.setenv("ORRERY_DAGSTER_STORAGE", new_database(first.url(standby)))
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        before = dg.materialize([rows], instance=instance)

        first.kill()
        standby.promote()

        after = dg.materialize([rows], instance=instance)
        runs = {run.run_id: run.status.value for run in instance.get_runs()}
    assert runs == {before.run_id: "SUCCESS", after.run_id: "SUCCESS"}


@contextmanager
def writing(url):
    """Writes one row after the other while the block runs; gives what was answered."""
    control = Control(url)
    with control.write() as connection:
        connection.execute(text("CREATE TABLE seen (number INTEGER PRIMARY KEY)"))
    answered: list[int] = []
    ending = threading.Event()

    def write() -> None:
        for number in range(1_000_000):
            if ending.is_set():
                return
            try:
                with control.write() as connection:
                    connection.execute(text("INSERT INTO seen VALUES (:n)"), {"n": number})
            except ControlUnavailable:
                continue
            answered.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: len(answered) > 50)
        yield answered
        reached = len(answered)
        until(lambda: len(answered) > reached + 50)
    finally:
        ending.set()
        writer.join()
        control.close()


def stored(url) -> set[int]:
    control = Control(url)
    with control.read() as connection:
        result = {row[0] for row in connection.execute(text("SELECT number FROM seen"))}
    control.close()
    return result


def test_what_was_answered_is_there_after_the_server_was_killed(server):
    url = new_database(server.url())

    with writing(url) as answered:
        server.restart()

    assert set(answered) <= stored(url)


def test_what_was_answered_is_there_after_the_standby_was_promoted(pair):
    first, standby = pair
    url = new_database(first.url(standby))

    with writing(url) as answered:
        first.kill()
        standby.promote()

    assert set(answered) <= stored(url)


def test_a_server_that_was_demoted_is_left_and_not_written_to_for_ever(server):
    control = Control(new_database(server.url()))
    statement = text("CREATE TABLE IF NOT EXISTS seen (number INTEGER)")
    with control.write() as connection:
        connection.execute(statement)
    server.become_read_only(True)

    with pytest.raises(ControlUnavailable, match="broke"), control.write() as connection:
        connection.execute(text("INSERT INTO seen VALUES (1)"))

    server.become_read_only(False)
    with control.write() as connection:
        connection.execute(text("INSERT INTO seen VALUES (2)"))
    control.close()
