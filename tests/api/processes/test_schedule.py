"""What `orrery up` removes by itself: once a day, and nothing where the setting says so."""

import os
import time

import pytest

from api.processes.schedule import CollectionSchedule
from engine import lease
from resources.collection.records import records
from resources.database.control import Control
from tests.waiting import until

DAY_S = 86_400.0


@pytest.fixture
def state(settings, mlflow_database, flowers, monkeypatch):
    monkeypatch.setenv("ORRERY_PROJECTS", str(flowers))
    return settings.state


def last_began(state, ago_s: float) -> None:
    """Let the schedule have begun one so long ago."""
    stamp = state / "collection" / "scheduled"
    stamp.parent.mkdir(exist_ok=True)
    stamp.touch()
    os.utime(stamp, (time.time() - ago_s,) * 2)


def made(settings) -> list[records.Record]:
    control = Control(settings.control_url)
    with control.read() as connection:
        found = records.listed(connection, settings.organization, None, 10)
    control.close()
    return found


def test_a_new_folder_waits_and_one_that_was_looked_at_a_day_ago_does_not(settings, state):
    said = []
    CollectionSchedule(settings, said.append).look()
    assert not (state / "processes").exists()

    last_began(state, DAY_S + 1)
    due = CollectionSchedule(settings, said.append)
    due.look()
    (record,) = until(lambda: [each for each in made(settings) if each.state == "done"])
    assert record.asked_by == "schedule"
    due.stop()

    CollectionSchedule(settings, said.append).look()
    assert len(made(settings)) == 1
    assert said == []


def test_one_that_has_failed_is_told_with_its_log(settings, state):
    last_began(state, 2 * DAY_S)
    left = state / "dagster" / "history" / "runs" / "gone.db"
    left.parent.mkdir(parents=True)
    left.touch()
    os.utime(left, (0, 0))
    lock = lease.hold(state / "collection")
    said: list[str] = []
    schedule = CollectionSchedule(settings, said.append)

    def told() -> bool:
        schedule._due = 0.0
        schedule.look()
        return bool(said)

    until(told)
    os.close(lock)
    assert left.exists()
    assert "collection.log" in said[0]
    assert made(settings)[0].state == "failed"


def test_one_at_work_is_ended_with_everything_else(settings, state):
    last_began(state, 2 * DAY_S)
    schedule = CollectionSchedule(settings, lambda _: None)
    schedule.look()
    process = schedule._process

    schedule.stop()

    assert process is not None
    assert process.returncode is not None


def test_without_a_period_nothing_is_ever_removed(settings, state):
    last_began(state, 365 * DAY_S)
    never = settings.model_copy(update={"collect_every_h": 0})

    CollectionSchedule(never, lambda _: None).look()

    assert not (state / "processes").exists()
