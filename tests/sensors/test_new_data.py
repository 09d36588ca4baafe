"""New files start the next turn, once, and only when they stand still."""

from pathlib import Path

import dagster as dg
import pytest

from projects.loading import LoadedProject
from projects.schema import Project
from sensors.new_data import build_new_data_sensors, decide
from tests import buckets


def looked(*looks):
    """Fresh files at each look, one look after another."""
    cursor, fresh = None, []
    for files in looks:
        decision = decide(files, cursor)
        cursor = decision.cursor
        fresh.append(decision.fresh)
    return fresh


def birds(source, folder, **dataset):
    """A project that retrains on new data of the source."""
    declaration = Project.model_validate(
        {
            "project": "birds",
            "owner": "team:ornithology",
            "datasets": {"songs": {"source": source, **dataset}},
            "automation": {"retrain": {"on": ["new_data"]}},
        }
    )
    return LoadedProject(folder / "birds.yaml", declaration, {})


class Looker:
    """Evaluates the real sensor again and again, keeping its cursor as Dagster does."""

    def __init__(self, project: LoadedProject) -> None:
        (self._sensor,) = build_new_data_sensors(project)
        self._cursor = None

    def look(self):
        """Run requests of one evaluation."""
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, cursor=self._cursor)
            data = self._sensor.evaluate_tick(context)
        self._cursor = data.cursor
        return data.run_requests


def test_first_look_knows_everything():
    assert looked({"a": "1", "b": "1"}, {"a": "1", "b": "1"}) == [{}, {}]


def test_new_file_fires_once_when_it_stood_still_for_one_look():
    new = {"a": "1", "b": "1"}

    assert looked({"a": "1"}, new, new, new) == [{}, {}, {"b": "1"}, {}]


def test_growing_file_is_waited_for():
    looks = [{}, {"a": "1"}, {"a": "2"}, {"a": "3"}, {"a": "3"}, {"a": "3"}]

    assert looked(*looks) == [{}, {}, {}, {}, {"a": "3"}, {}]


def test_changed_file_fires_again():
    looks = [{"a": "1"}, {"a": "2"}, {"a": "2"}, {"a": "2"}]

    assert looked(*looks) == [{}, {}, {"a": "2"}, {}]


def test_files_that_arrive_together_fire_together():
    looks = [{}, {"a": "1"}, {"a": "1", "b": "1"}, {"a": "1", "b": "1"}]

    assert looked(*looks) == [{}, {}, {}, {"a": "1", "b": "1"}]


def test_removed_file_does_not_fire():
    assert looked({"a": "1"}, {}, {}) == [{}, {}, {}]


def test_file_that_arrived_in_the_first_empty_folder_fires():
    assert looked({}, {"a": "1"}, {"a": "1"})[-1] == {"a": "1"}


def test_sensor_requests_one_turn_for_a_new_file(tmp_path):
    (tmp_path / "data").mkdir()
    looker = Looker(birds("files:data", tmp_path))
    looker.look()
    (tmp_path / "data" / "a.csv").write_text("wing\n1\n")

    requests = [looker.look() for _ in range(4)]

    assert [len(result) for result in requests] == [0, 1, 0, 0]
    assert requests[1][0].tags.items() >= {"trigger": "new_data", "orrery/files": "1"}.items()


def test_sensor_requests_another_turn_under_another_key_for_a_changed_file(tmp_path):
    file = tmp_path / "data" / "a.csv"
    file.parent.mkdir()
    looker = Looker(birds("files:data", tmp_path))
    looker.look()
    keys = []

    for content in ("wing\n1\n", "wing\n1\n2\n"):
        file.write_text(content)
        keys += [request.run_key for _ in range(3) for request in looker.look()]

    assert len(set(keys)) == len(keys) == 2


def test_sensor_of_a_folder_that_does_not_exist_yet_waits(tmp_path):
    looker = Looker(birds("sklearn:iris", tmp_path, watch="incoming"))
    looker.look()
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "a.csv").write_text("wing\n1\n")

    requests = [looker.look() for _ in range(3)]

    assert [len(result) for result in requests] == [0, 1, 0]


def test_sensor_sees_new_objects_of_a_bucket(tmp_path, monkeypatch):
    root = buckets.make_bucket(monkeypatch)
    buckets.put("songs/a.csv", b"wing\n1\n")
    looker = Looker(birds(f"files:{root}/songs", tmp_path))
    looker.look()
    buckets.put("songs/b.csv", b"wing\n2\n")

    requests = [looker.look() for _ in range(4)]

    assert [len(result) for result in requests] == [0, 1, 0, 0]


def test_place_that_cannot_be_listed_is_told_and_the_cursor_kept(tmp_path):
    (sensor,) = build_new_data_sensors(birds("files:unknown://bucket/songs", tmp_path))
    cursor = '{"known": {}, "seen": {}}'

    with dg.DagsterInstance.ephemeral() as instance:
        data = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))

    assert "unknown://bucket/songs cannot be listed" in (data.skip_message or "")
    assert data.cursor in (None, cursor)


@pytest.mark.parametrize("name", ["README.md", ".draft.csv"])
def test_file_that_no_reader_reads_starts_nothing(name, tmp_path):
    (tmp_path / "data").mkdir()
    looker = Looker(birds("files:data", tmp_path))
    looker.look()
    Path(tmp_path, "data", name).write_text("not rows")

    requests = [looker.look() for _ in range(3)]

    assert requests == [[], [], []]
