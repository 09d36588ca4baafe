"""New files start the next turn, once, and only when they stand still."""

from pathlib import Path

import dagster as dg
import pytest

from projects.loading import LoadedProject
from projects.schema import Project
from resources.storage.object_store import ObjectStore
from sensors.known_files import KnownFiles
from sensors.new_data import build_new_data_sensors
from tests import buckets


@pytest.fixture
def objects(tmp_path):
    return ObjectStore(str(tmp_path / "objects"), tmp_path / "cache")


@pytest.fixture
def looked(objects):
    """Fresh files at each look, one look after another, where a look is acted on."""

    def look(*looks):
        fresh = []
        for files in looks:
            # Each look is another process's, which remembers nothing.
            found = KnownFiles().look(objects, "birds.songs", files)
            fresh.append(found.fresh)
            if found.fresh:
                KnownFiles().settle(objects, "birds.songs", found.digest)
        return fresh

    return look


def birds(source, folder, name="birds", **dataset):
    """A project that retrains on new data of the source."""
    declaration = Project.model_validate(
        {
            "project": name,
            "owner": "team:ornithology",
            "datasets": {"songs": {"source": source, **dataset}},
            "automation": {"retrain": {"on": ["new_data"]}},
        }
    )
    return LoadedProject(folder / f"{name}.yaml", declaration, {})


class Looker:
    """Evaluates the real sensor again and again, keeping its cursor as Dagster does."""

    def __init__(self, objects: ObjectStore, *projects: LoadedProject) -> None:
        self._objects, self._projects, self._cursor = objects, projects, None
        self.restart()

    def restart(self):
        """The process of the definitions is another one."""

        def turn(project):
            return dg.JobDefinition(
                name=f"turn_{project.name}", graph_def=dg.GraphDefinition(f"turn_{project.name}")
            )

        jobs = {job.name: job for job in map(turn, self._projects)}
        (self._sensor,) = build_new_data_sensors(self._projects, jobs)

    def tick(self, *, is_lost=False):
        """One evaluation; where it is lost, Dagster neither starts its requests nor keeps its
        cursor."""
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance, cursor=self._cursor, resources={"objects": self._objects}
            )
            data = self._sensor.evaluate_tick(context)
        if not is_lost:
            self._cursor = data.cursor
        return data

    def look(self, **how):
        """Run requests of one evaluation."""
        return self.tick(**how).run_requests


def test_first_look_knows_everything(looked):
    assert looked({"a": "1", "b": "1"}, {"a": "1", "b": "1"}) == [{}, {}]


def test_new_file_fires_once_when_it_stood_still_for_one_look(looked):
    new = {"a": "1", "b": "1"}

    assert looked({"a": "1"}, new, new, new) == [{}, {}, {"b": "1"}, {}]


def test_growing_file_is_waited_for(looked):
    looks = [{}, {"a": "1"}, {"a": "2"}, {"a": "3"}, {"a": "3"}, {"a": "3"}]

    assert looked(*looks) == [{}, {}, {}, {}, {"a": "3"}, {}]


def test_changed_file_fires_again(looked):
    looks = [{"a": "1"}, {"a": "2"}, {"a": "2"}, {"a": "2"}]

    assert looked(*looks) == [{}, {}, {"a": "2"}, {}]


def test_files_that_arrive_together_fire_together(looked):
    looks = [{}, {"a": "1"}, {"a": "1", "b": "1"}, {"a": "1", "b": "1"}]

    assert looked(*looks) == [{}, {}, {}, {"a": "1", "b": "1"}]


def test_removed_file_does_not_fire(looked):
    assert looked({"a": "1"}, {}, {}) == [{}, {}, {}]


def test_file_that_arrived_in_the_first_empty_folder_fires(looked):
    assert looked({}, {"a": "1"}, {"a": "1"})[-1] == {"a": "1"}


def test_sensor_requests_one_turn_for_a_new_file(tmp_path, objects):
    (tmp_path / "data").mkdir()
    looker = Looker(objects, birds("files:data", tmp_path))
    looker.look()
    (tmp_path / "data" / "a.csv").write_text("wing\n1\n")

    requests = [looker.look() for _ in range(4)]

    assert [len(result) for result in requests] == [0, 1, 0, 0]
    assert requests[1][0].tags.items() >= {"trigger": "new_data", "orrery/files": "1"}.items()


def test_sensor_requests_another_turn_under_another_key_for_a_changed_file(tmp_path, objects):
    file = tmp_path / "data" / "a.csv"
    file.parent.mkdir()
    looker = Looker(objects, birds("files:data", tmp_path))
    looker.look()
    keys = []

    for content in ("wing\n1\n", "wing\n1\n2\n"):
        file.write_text(content)
        keys += [request.run_key for _ in range(3) for request in looker.look()]

    assert len(set(keys)) == len(keys) == 2


def test_sensor_of_a_folder_that_does_not_exist_yet_waits(tmp_path, objects):
    looker = Looker(objects, birds("sklearn:iris", tmp_path, watch="incoming"))
    looker.look()
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "a.csv").write_text("wing\n1\n")

    requests = [looker.look() for _ in range(3)]

    assert [len(result) for result in requests] == [0, 1, 0]


def test_sensor_sees_new_objects_of_a_bucket(tmp_path, monkeypatch, objects):
    root = buckets.make_bucket(monkeypatch)
    buckets.put("songs/a.csv", b"wing\n1\n")
    looker = Looker(objects, birds(f"files:{root}/songs", tmp_path))
    looker.look()
    buckets.put("songs/b.csv", b"wing\n2\n")

    requests = [looker.look() for _ in range(4)]

    assert [len(result) for result in requests] == [0, 1, 0, 0]


def test_place_that_cannot_be_listed_is_told_and_holds_up_no_other(tmp_path, objects):
    (tmp_path / "data").mkdir()
    gone = birds("files:unknown://bucket/songs", tmp_path, "owls")
    looker = Looker(objects, gone, birds("files:data", tmp_path))
    looker.look()
    (tmp_path / "data" / "a.csv").write_text("wing\n1\n")

    first, second = looker.tick(), looker.tick()

    assert "owls.songs: unknown://bucket/songs cannot be listed" in (first.skip_message or "")
    assert [request.job_name for request in second.run_requests] == ["turn_birds"]


def test_each_project_gets_its_own_turn(tmp_path, objects):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    projects = [birds(f"files:{n}", tmp_path, p) for n, p in (("here", "owls"), ("there", "gulls"))]
    looker = Looker(objects, *projects)
    looker.look()
    for name in ("here", "there"):
        (tmp_path / name / "a.csv").write_text("wing\n1\n")

    requests = [looker.look() for _ in range(4)]

    assert [[r.job_name for r in each] for each in requests] == [
        [],
        ["turn_owls", "turn_gulls"],
        [],
        [],
    ]


def test_new_files_survive_a_tick_that_is_lost_and_a_new_process(tmp_path, objects):
    (tmp_path / "data").mkdir()
    looker = Looker(objects, birds("files:data", tmp_path))
    looker.look()
    (tmp_path / "data" / "a.csv").write_text("wing\n1\n")
    looker.look()

    (lost,) = looker.look(is_lost=True)
    looker.restart()
    (again,) = looker.look()
    looker.restart()

    assert lost.run_key == again.run_key
    assert looker.look() == []


def test_a_slow_look_goes_on_where_it_ended(tmp_path, objects, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    looker = Looker(objects, *(birds(f"files:{n}", tmp_path, f"p{n}") for n in "abc"))
    monkeypatch.setattr("sensors.new_data.LOOK_S", -1.0)

    told = [looker.tick().skip_message for _ in range(3)]

    assert all("no new file in 1 of 3 watched datasets; 1 are known" in said for said in told)


def test_what_lies_still_is_not_read_again(tmp_path, objects):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("wing\n1\n")
    looker = Looker(objects, birds("files:data", tmp_path))
    looker.look()
    looker.look()
    (note,) = [key for key, _ in objects.keys("sensors/new_data/")]
    objects.delete(note)

    assert "are known from this look on" not in (looker.tick().skip_message or "")


@pytest.mark.parametrize("name", ["README.md", ".draft.csv"])
def test_file_that_no_reader_reads_starts_nothing(name, tmp_path, objects):
    (tmp_path / "data").mkdir()
    looker = Looker(objects, birds("files:data", tmp_path))
    looker.look()
    Path(tmp_path, "data", name).write_text("not rows")

    requests = [looker.look() for _ in range(3)]

    assert requests == [[], [], []]


def test_what_is_known_of_a_projects_files_lies_under_its_name(tmp_path, objects):
    (tmp_path / "data").mkdir()
    Looker(objects, birds("files:data", tmp_path)).look()

    assert [key for key, _ in objects.keys("sensors/new_data/birds/")] == [
        "sensors/new_data/birds/songs.json"
    ]
