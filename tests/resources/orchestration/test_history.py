"""What Dagster keeps of dagster_runs is read and removed, in SQLite and in PostgreSQL."""

import dagster as dg
import pytest
from dagster import DagsterInstance
from sqlalchemy import text

from engine.lease import AlreadyRunning
from resources.orchestration.events import DagsterEvents
from resources.orchestration.history import RunHistory
from resources.orchestration.postgresql_lock import alone_on_postgresql
from resources.settings import CHECKOUT
from tests.control import new_database
from tests.old_runs import old_runs

KEY = dg.AssetKey(["p", "dataset", "rows"])


@dg.asset(key=KEY, check_specs=[dg.AssetCheckSpec("holds", asset=KEY)])
def rows(context):
    return dg.MaterializeResult(
        data_version=dg.DataVersion(context.run.tags["version"]),
        check_results=[dg.AssetCheckResult(check_name="holds", passed=True)],
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def instance(request, settings, monkeypatch):
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgresql"))
        monkeypatch.setenv("ORRERY_DAGSTER_STORAGE", url)
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        yield instance


@pytest.fixture
def history(instance):
    events = DagsterEvents()
    events._opened = instance
    return RunHistory(events)


def made(instance, version: str) -> str:
    return dg.materialize([rows], instance=instance, tags={"version": version}).run_id


def rows_of(instance, table: str, run_id: str) -> int:
    storage = instance.run_storage if table.startswith("run") else instance.event_log_storage
    connect = storage.connect if table.startswith("run") else storage.index_connection
    with connect() as connection:
        query = text(f"SELECT count(*) FROM {table} WHERE run_id = :id")
        return connection.execute(query, {"id": run_id}).scalar_one()


TABLES = ("runs", "run_tags", "event_logs", "asset_check_executions")


def test_a_removed_dagster_run_leaves_no_row_and_no_file_and_others_stay(
    instance, history, settings
):
    first, second = made(instance, "1"), made(instance, "2")
    assert all(rows_of(instance, table, first) for table in TABLES)

    history.remove(first)
    history.remove(first)

    assert [rows_of(instance, table, first) for table in TABLES] == [0, 0, 0, 0]
    assert all(rows_of(instance, table, second) for table in TABLES)
    assert list(settings.state.rglob(f"{first}*")) == []
    assert instance.get_latest_materialization_event(KEY).run_id == second
    assert [(e.run_id, e.data_version) for e in history.made()] == [(second, "2")]


def test_the_newest_of_assets_and_checks_is_known(instance, history):
    made(instance, "1")
    second = made(instance, "2")
    assert history.newest() == {second}


def test_dagster_runs_are_told_apart_by_their_project_and_whether_they_are_over(instance, history):
    (old,) = old_runs(instance, 1, "p")
    instance.add_run(
        dg.DagsterRun(
            job_name="j", run_id="a" * 32, status=dg.DagsterRunStatus.STARTED, tags={"project": "q"}
        )
    )
    (ended,) = history.ended()
    assert (ended.run_id, ended.project) == (old, "p")
    (going,) = history.going()
    assert going.projects == {"q"}


def test_the_log_of_a_removed_dagster_run_is_empty_and_makes_no_file(instance, history, settings):
    (old,) = old_runs(instance, 1, "p")
    history.remove(old)
    assert history._events.lines(old, 0) == []
    assert list(settings.state.rglob(f"{old}*")) == []


def test_a_file_that_dagsters_own_deletion_leaves_is_found(instance, history, settings):
    first, second = made(instance, "1"), made(instance, "2")
    instance.delete_run(first)
    found = {file.stem for file in history.unnamed_files()}
    is_sqlite = (settings.state / "dagster" / "history").exists()
    assert found == ({first} if is_sqlite else set())
    assert second not in found


def test_of_two_removals_on_a_postgresql_one_is_refused(postgresql):
    url = new_database(postgresql)
    with (
        alone_on_postgresql(url),
        pytest.raises(AlreadyRunning, match="orrery gc"),
        alone_on_postgresql(url),
    ):
        pass
    with alone_on_postgresql(url):
        pass
