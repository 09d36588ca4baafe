"""What lists and charts show of MLflow, from its tables and from its client alike."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.tracking.adapter import Tracking
from resources.tracking.experiments import BadCursor, Experiments
from resources.tracking.registry import DIGEST_TAG
from resources.tracking.tables import Head
from resources.tracking.thinning import thinned

NAME = "birds.singer"


@pytest.fixture(params=["tables", "client"])
def way(request, mlflow_database, settings, monkeypatch):
    """Of a database its tables are read, and of a server what its client says."""
    if request.param == "client":
        monkeypatch.setattr("resources.tracking.tables.MlflowTables.are_at", lambda uri: False)
    return settings


@pytest.fixture
def tracking(way):
    return Tracking(way.tracking_uri, way.mlflow_artifacts, "http://ui")


@pytest.fixture
def experiments(way):
    return Experiments(way.tracking_uri, way.mlflow_artifacts, "http://ui")


def registered(tracking, name, versions):
    client = tracking._client
    client.create_registered_model(name)
    for number in range(1, versions + 1):
        tags = {DIGEST_TAG: f"digest-{number}", "orrery.promoted_at": f"{number}00.5"}
        client.create_model_version(name, f"file:///{number}", run_id=f"run{number}", tags=tags)


def test_heads_tell_the_newest_version_its_digest_and_every_alias(tracking):
    registered(tracking, NAME, 3)
    registered(tracking, "birds.owl", 1)
    tracking._client.create_registered_model("birds.empty")
    tracking.point(NAME, "champion", 2)
    tracking.point(NAME, "shadow", 3)

    found = tracking.heads([NAME, "birds.owl", "birds.empty", "birds.missing"])

    assert found == {
        NAME: Head(3, {"champion": 2, "shadow": 3}, "digest-3"),
        "birds.owl": Head(1, {}, "digest-1"),
        "birds.empty": Head(None, {}),
    }


def test_a_deleted_version_is_no_newest_one(tracking):
    registered(tracking, NAME, 3)
    tracking._client.delete_model_version(NAME, "3")

    assert tracking.heads([NAME])[NAME].newest == 2
    found = tracking.find(NAME, None)
    assert found is not None and found.version == 2


def test_pages_of_versions_follow_each_other_with_their_aliases(tracking):
    registered(tracking, NAME, 5)
    tracking.point(NAME, "champion", 3)

    first = tracking.page(NAME, 2)
    second = tracking.page(NAME, 2, before=first[-1].version)

    assert [(v.version, v.aliases) for v in first] == [(5, ()), (4, ())]
    assert [(v.version, v.aliases) for v in second] == [(3, ("champion",)), (2, ())]
    assert [v.version for v in tracking.versions(NAME)] == [5, 4, 3, 2, 1]
    assert tracking.page("birds.missing", 2) == []


def test_one_version_is_found_by_its_number(tracking):
    registered(tracking, NAME, 3)

    found = tracking.find(NAME, 2)

    assert found is not None
    assert (found.version, found.artefact_digest, found.run_id) == (2, "digest-2", "run2")
    assert tracking.find(NAME, 9) is None


def test_versions_are_found_by_how_a_tag_begins(tracking):
    registered(tracking, NAME, 3)

    assert [v.version for v in tracking.tagged(NAME, "orrery.promoted_at", "2")] == [2]
    assert len(tracking.tagged(NAME, "orrery.promoted_at", "")) == 3


def test_an_experiment_is_found_whatever_else_there_is(experiments):
    made = experiments.create("birds", "noise")
    other = experiments.create("birds_2", "noise")
    experiments._client.create_experiment("birds")

    assert experiments.find(made.id) == made
    of_birds = list(experiments.newest(project="birds"))
    assert {each.name for each in of_birds} == {"birds", "birds/noise"}
    assert [each.id for each in experiments.newest(project="birds_2")] == [other.id]
    assert list(experiments.newest(of_birds[0].id, "birds")) == of_birds[1:]
    assert experiments.find("0") is None, "MLflow's own"
    assert experiments.find("123456") is None and experiments.find("no number") is None
    experiments.delete(made.id)
    assert experiments.find(made.id) is None


def test_experiments_are_read_page_by_page_and_newest_first(experiments, monkeypatch):
    monkeypatch.setattr("resources.tracking.experiments.PAGE", 2)
    made = [experiments.create("birds", f"e{number}") for number in range(5)]
    made.reverse()

    assert list(experiments.newest()) == made
    assert list(experiments.newest(made[1].id)) == made[2:]
    experiments.delete(made[1].id)
    assert list(experiments.newest(made[1].id)) == made[2:]
    with pytest.raises(BadCursor, match="none of this list"):
        list(experiments.newest("123456"))


def logged(experiments, values):
    """A run with the metric `loss`."""
    from mlflow.entities import Metric

    client = experiments._client
    run = client.create_run(client.create_experiment(f"birds-{time.time_ns()}")).info.run_id
    metrics = [Metric("loss", value, 1_000 + step, step) for step, value in enumerate(values)]
    for begin in range(0, len(metrics), 1_000):
        client.log_batch(run, metrics=metrics[begin : begin + 1_000])
    return experiments.run(run)


def test_a_short_curve_is_whole_and_in_order(experiments):
    run = logged(experiments, [3.0, float("nan"), 1.0])

    curve = experiments.curves(run, [], most=10)["loss"]

    assert [(v.step, v.at) for v in curve.values] == [(0, 1.0), (1, 1.001), (2, 1.002)]
    assert [v.value for v in curve.values] == pytest.approx([3.0, float("nan"), 1.0], nan_ok=True)
    assert curve.logged == 3


def test_a_long_curve_keeps_its_ends_and_its_spike(experiments):
    values = [1.0] * 3_000
    values[1_234] = 99.0
    run = logged(experiments, values)

    curve = experiments.curves(run, ["loss", "missing"], most=50)["loss"]

    assert curve.logged == 3_000
    assert len(curve.values) <= 50
    assert (curve.values[0].step, curve.values[-1].step) == (0, 2_999)
    assert (1_234, 99.0) in {(v.step, v.value) for v in curve.values}


def test_runs_of_a_dagster_run_are_closed_in_the_projects_that_it_is_of(tracking, experiments):
    client = tracking._client
    mine, other = (client.create_experiment(name) for name in ("birds", "owls"))
    tags = {"dagster.run_id": "the-run"}
    runs = [client.create_run(each, tags=tags).info.run_id for each in (mine, other)]

    assert tracking.close_runs_of(["birds", "missing"], "the-run", "it was killed") == 1
    assert [experiments.run(each).status for each in runs] == ["FAILED", "RUNNING"]
    assert tracking.close_runs_of([], "the-run", "it was killed") == 0


FLOATS = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=300)


@given(FLOATS, st.integers(4, 40))
def test_thinning_keeps_the_ends_and_the_extremes(values, most):
    values = np.array(values)

    places = thinned(values, most)

    assert len(places) <= most
    assert list(places) == sorted(set(places))
    assert {0, len(values) - 1} <= set(places.tolist())
    if not np.isnan(values).all():
        assert np.nanmin(values[places]) == np.nanmin(values)
        assert np.nanmax(values[places]) == np.nanmax(values)
