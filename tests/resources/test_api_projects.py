"""Projects that were created through the API are the same for every process of a cluster."""

import os

import pytest

from engine.bucket import ChangedMeanwhile
from resources.api_projects import ApiProjects
from resources.settings import Settings
from tests import buckets
from tests.faulty_http import FaultyProxy


@pytest.fixture
def two(tmp_path, monkeypatch):
    """The same projects, as two machines have them."""
    bucket = buckets.make_bucket(monkeypatch)
    return [ApiProjects(Settings(state=tmp_path / name, objects=bucket)) for name in ("a", "b")]


def test_a_project_of_one_machine_is_declared_on_the_other(two):
    here, there = two
    here.put("flowers.yaml", "project: flowers")

    there.pull()

    assert (there.folder / "flowers.yaml").read_text() == "project: flowers"


def test_a_changed_project_is_taken_up(two):
    here, there = two
    here.put("flowers.yaml", "old")
    there.pull()
    here.put("flowers.yaml", "new")

    there.pull()

    assert (there.folder / "flowers.yaml").read_text() == "new"


def test_a_deleted_project_goes_away_everywhere(two):
    here, there = two
    here.put("flowers.yaml", "x")
    there.pull()
    here.delete("flowers.yaml")

    there.pull()

    assert not (there.folder / "flowers.yaml").exists()


def test_suites_lie_beside_their_project(two):
    here, there = two
    here.put("suites/flowers.nudge.yaml", "kind: attack")

    there.pull()

    assert (there.folder / "suites" / "flowers.nudge.yaml").read_text() == "kind: attack"


def test_of_two_machines_that_change_one_project_the_second_is_refused(two):
    here, there = two
    here.put("flowers.yaml", "old")
    there.pull()
    here.put("flowers.yaml", "ours")

    with pytest.raises(ChangedMeanwhile, match=r"flowers\.yaml"):
        there.put("flowers.yaml", "theirs")

    there.pull()
    assert (there.folder / "flowers.yaml").read_text() == "ours"


def test_of_two_machines_that_create_one_project_the_second_is_refused(two):
    here, there = two
    here.put("flowers.yaml", "ours")

    with pytest.raises(ChangedMeanwhile, match=r"flowers\.yaml"):
        there.put("flowers.yaml", "theirs")


def test_a_project_that_another_machine_deleted_is_not_brought_back_by_a_change(two):
    here, there = two
    here.put("flowers.yaml", "old")
    there.pull()
    here.delete("flowers.yaml")

    with pytest.raises(ChangedMeanwhile, match=r"flowers\.yaml"):
        there.put("flowers.yaml", "new")


def test_a_change_whose_answer_was_lost_is_no_conflict_with_itself(two, tmp_path, monkeypatch):
    here, _ = two
    here.put("flowers.yaml", "old")
    proxy = FaultyProxy(os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    again = ApiProjects(Settings(state=tmp_path / "c", objects=f"s3://{buckets.NAME}"))
    again.pull()
    proxy.lose_answers(1)

    again.put("flowers.yaml", "new")

    here.pull()
    assert (here.folder / "flowers.yaml").read_text() == "new"


def test_a_machine_changes_a_project_again_and_again(two):
    here, there = two
    for content in ("first", "second", "third"):
        here.put("flowers.yaml", content)

    there.pull()
    assert (there.folder / "flowers.yaml").read_text() == "third"


def test_a_bucket_that_is_away_changes_nothing_here(two, monkeypatch):
    here, _ = two
    here.put("flowers.yaml", "old")
    monkeypatch.setattr("engine.bucket.Bucket.put_over", _away)

    with pytest.raises(ConnectionError):
        here.put("flowers.yaml", "new")

    assert (here.folder / "flowers.yaml").read_text() == "old"


def _away(*_):
    raise ConnectionError("the bucket is away")


def test_without_a_bucket_the_folder_is_all_there_is(tmp_path):
    alone = ApiProjects(Settings(state=tmp_path))
    alone.put("flowers.yaml", "x")

    alone.pull()

    assert (alone.folder / "flowers.yaml").read_text() == "x"
