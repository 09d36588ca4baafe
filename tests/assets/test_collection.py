"""What is no longer kept is removed from a state folder that real jobs have filled."""

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from dagster import DagsterRun, DagsterRunStatus

from projects.loading import load_project
from resources.collection.collector import Collector
from resources.collection.removal import Removal, StillNeeded
from resources.collection.world import Places, Work
from resources.declarations import Broken, Usable
from resources.orchestration.events import DagsterEvents
from resources.orchestration.history import RunHistory
from resources.storage.evidence import KeptEvidence
from resources.storage.object_store import ObjectMissing
from serving.contract import Deployment
from simulations.evidence import judge
from tests.buckets import listed, make_bucket

OLD_S = 40 * 86_400.0


class Later:
    """A clock that is far ahead, so that all of now is old."""

    def __init__(self, by_s: float = OLD_S) -> None:
        self.by_s = by_s

    def time(self) -> float:
        return time.time() + self.by_s


class Collection:
    """The collector of a loop's state folder."""

    def __init__(self, loop, monkeypatch) -> None:
        self.loop, self.jobs, self.is_broken = loop, [], False
        self.events = DagsterEvents()
        self.events._opened = loop.instance
        self.adapters = loop.adapters
        self.clock = Later()
        monkeypatch.setattr("resources.collection.collector.time", self.clock)
        names = ("objects", "datasets", "evidence", "tracking", "runtime")
        parts = [self.adapters[name] for name in names]
        history = RunHistory(self.events)
        self.places = Places(loop.settings, *parts, history, lambda: self.jobs)
        self.collector = Collector(self.places, self.events, self.usable)

    def bound(self, **settings: int) -> None:
        """Let settings bound what belongs to no project, as dagster_runs of these tests do."""
        changed = self.places.settings.model_copy(update=settings)
        self.places = replace(self.places, settings=changed)
        self.collector = Collector(self.places, self.events, self.usable)

    def usable(self) -> Usable:
        project = load_project(self.loop.project.file)
        broken = [Broken(project.file, (), project)] if self.is_broken else []
        return Usable([project], broken)

    def declare(self, retention: str) -> None:
        file = self.loop.project.file
        before = file.read_text().partition("\nretention:")[0]
        file.write_text(f"{before}\nretention: {retention}\n")

    def chosen(self) -> Counter:
        return Counter(item.kind for item in self.collector.plan().chosen)

    def collect(self):
        return self.collector.carry_out(self.collector.plan().wanted)


@pytest.fixture
def bucket(settings, monkeypatch) -> None:
    """Let what the loop makes lie in a bucket."""
    monkeypatch.setenv("ORRERY_OBJECTS", f"{make_bucket(monkeypatch)}/objects")


@pytest.fixture
def collection(loop, monkeypatch):
    return Collection(loop, monkeypatch)


ALL = "{runs: {keep_days: 7}, checkpoints: {keep_newest: 1}, versions: {keep_newest: 1}}"


@pytest.mark.begins("two versions")
def test_without_a_declaration_nothing_goes(collection):
    assert collection.collector.plan().chosen == []


@pytest.mark.begins("two versions")
def test_what_is_not_kept_goes_with_everything_that_was_its_own(collection):
    collection.declare(ALL)
    tracking, objects = collection.places.tracking, collection.places.objects
    first = tracking.version("flowers.classifier", 1)
    copies = collection.loop.settings.state / "mlflow" / "flowers" / "models"
    assert len(list(copies.iterdir())) == 2

    report = collection.collect()

    assert report.failed == []
    assert [v.version for v in tracking.versions("flowers.classifier")] == [2]
    assert not objects.has(first.artefact_key)
    assert len(list(objects.listed("artefacts/"))) > 0
    assert {key.split("/")[1] for key, _ in objects.keys("artefacts/")} == {
        tracking.version("flowers.classifier", 2).artefact_digest
    }
    assert len(list(copies.glob("*/artifacts/*"))) > 0
    assert len({path.parent for path in copies.glob("*/artifacts/MLmodel")}) == 1
    assert len({key.split("/")[1] for key, _ in objects.keys("checkpoints/")}) == 1
    assert len({key.split("/")[1] for key, _ in objects.keys("evidence/")}) == 1
    assert len(list(objects.keys("simulations/"))) == 1
    assert sum(item.bytes for item in report.removed) > 0
    assert not objects.has("collection/pending.json")


@pytest.mark.begins("two versions")
def test_the_dagster_run_of_something_that_stays_stays_and_others_go(collection):
    failed = collection.loop.materialize(
        "checkpoint", flowers__checkpoint__classifier={"hyperparameters": {"epochs": "many"}}
    )
    assert not failed.success
    collection.declare("{runs: {keep_days: 7}}")
    collection.bound(retention_runs_days=7)
    assert collection.chosen() == {"work folder": 1}
    again = {"flowers__checkpoint__classifier": {"seed": 2}}
    assert collection.loop.materialize("checkpoint", **again).success
    chosen = [i.name for i in collection.collector.plan().chosen if i.kind == "dagster_run"]
    assert chosen == [failed.run_id]

    collection.declare(ALL)
    report = collection.collect()

    assert report.failed == []
    instance = collection.loop.instance
    left = [run.run_id for run in instance.get_runs()]
    assert failed.run_id not in left
    for key in instance.all_asset_keys():
        newest = instance.get_latest_materialization_event(key)
        assert newest is None or newest.run_id in left
    assert collection.loop.materialize("model").success


@pytest.mark.begins("two versions")
def test_a_version_that_becomes_champion_after_the_plan_stays_with_all_that_is_its_own(collection):
    collection.declare(ALL)
    tracking = collection.places.tracking
    plan = collection.collector.plan()
    assert {"flowers.classifier 1"} == {i.name for i in plan.chosen if i.kind == "model version"}
    tracking.point("flowers.classifier", "champion", 1)

    report = collection.collector.carry_out(plan.wanted)

    assert [v.version for v in tracking.versions("flowers.classifier")] == [2, 1]
    assert "model version" in {item.kind for item, _ in report.kept}
    first = tracking.version("flowers.classifier", 1)
    objects = collection.places.objects
    objects.fetch_folder(first.artefact_key, first.artefact_digest)
    assert len({key.split("/")[1] for key, _ in objects.keys("evidence/")}) == 2
    assert len({key.split("/")[1] for key, _ in objects.keys("checkpoints/")}) == 2


@pytest.mark.begins("two versions")
def test_a_version_that_becomes_champion_in_the_last_moment_stays(collection):
    collection.declare(ALL)
    (item,) = [i for i in collection.collector.plan().chosen if i.kind == "model version"]
    collection.places.tracking.point("flowers.classifier", "champion", 1)

    with pytest.raises(StillNeeded, match="champion"):
        Removal(collection.places).remove(item)


def deployed(collection, version: int, file: str = "deployment.json") -> None:
    registered = collection.places.tracking.version("flowers.classifier", version)
    deployment = Deployment(
        service="flowers.classifier-api",
        version=f"v{version}-0123456789ab",
        model_version=version,
        artefact_digest=registered.artefact_digest,
        bento=Path("/bento"),
        bento_home=Path("/"),
        replicas=1,
        canary=[100],
        step_s=1,
    ).model_dump(mode="json")
    folder = collection.loop.settings.state / "services" / "flowers.classifier-api"
    folder.mkdir(parents=True)
    noted = {"deployments": [deployment]} if file == "rollout.json" else deployment
    (folder / file).write_text(json.dumps(noted))


@pytest.mark.begins("two versions")
@pytest.mark.parametrize("file", ["deployment.json", "rollout.json"])
def test_what_serves_or_may_get_its_traffic_back_stays(collection, file):
    collection.declare(ALL)
    deployed(collection, 1, file)

    kinds = collection.chosen()

    assert "model version" not in kinds
    assert "artefact" not in kinds


@pytest.mark.begins("two versions")
def test_what_work_under_way_names_or_began_with_stays(collection):
    collection.declare(ALL)
    now = collection.clock.time()
    collection.jobs = [Work(frozenset({"flowers"}), now, frozenset({"1"}))]
    assert "model version" not in collection.chosen()
    collection.jobs = [Work(frozenset({"flowers"}), time.time() - 3_600, frozenset())]
    assert "model version" not in collection.chosen()
    collection.jobs = [Work(frozenset({"another"}), now, frozenset({"1"}))]
    assert collection.chosen()["model version"] == 1


@pytest.mark.begins("two versions")
def test_all_of_a_project_with_a_broken_declaration_stays(collection):
    collection.declare(ALL)
    collection.is_broken = True
    plan = collection.collector.plan()
    assert plan.chosen == []
    assert "the declaration of its project is broken" in {reason for _, reason in plan.kept}


@pytest.mark.begins("two versions")
def test_nothing_that_is_younger_than_a_day_goes(collection):
    collection.declare(ALL)
    collection.clock.by_s = 23 * 3_600
    assert collection.collector.plan().chosen == []


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.begins("two versions")
def test_a_removal_that_ends_after_any_step_is_finished_by_the_next(collection):
    collection.declare(ALL)
    plan, interrupted = collection.collector.plan(), 0
    objects, tracking = collection.places.objects, collection.places.tracking

    def end_at_once(_) -> None:
        raise Killed

    while interrupted <= len(plan.chosen):
        # Each goes one step further than the one before.
        try:
            collection.collector.carry_out(collection.collector.plan().wanted, end_at_once)
        except Killed:
            interrupted += 1
            for version in tracking.versions("flowers.classifier"):
                objects.fetch_folder(version.artefact_key, version.artefact_digest)
        else:
            break

    assert interrupted == len(plan.chosen)
    assert len({key.split("/")[1] for key, _ in objects.keys("artefacts/")}) == 1
    copies = collection.loop.settings.state / "mlflow" / "flowers" / "models"
    assert len(list(copies.glob("*/artifacts/MLmodel"))) == 1
    assert not objects.has("collection/pending.json")


@pytest.mark.begins("two versions")
def test_the_best_checkpoint_stays_by_the_declared_metric(collection):
    short = {"seed": 2, "hyperparameters": {"epochs": 1}}
    trained = collection.loop.materialize("checkpoint", flowers__checkpoint__classifier=short)
    assert trained.success
    collection.declare(
        "{checkpoints: {keep_newest: 1, keep_best: 1, metric: loss, lower_is_better: true}}"
    )
    key = ["flowers", "checkpoint", "classifier_checkpoint"]
    made = collection.events.materialisations(key, 10)
    losses = [each.metadata["loss"] for each in made]
    tracking = collection.places.tracking
    for version in tracking.versions("flowers.classifier"):
        tracking.delete_version(version.name, version.version)

    collection.collect()

    left = {name.split("/")[1] for name, _ in collection.places.objects.keys("checkpoints/")}
    best = min(range(3), key=lambda number: losses[number])
    wanted = {made[number].metadata["uri"].rpartition("/")[2] for number in {0, best}}
    assert left == wanted


@pytest.mark.begins("two versions")
def test_evidence_of_a_failed_gate_stays_for_ever(collection):
    collection.declare(ALL)
    suite = collection.loop.project.file
    suite.write_text(suite.read_text().replace("at_least: 0.6", "at_least: 1"))
    objects = collection.places.objects
    kept = [
        KeptEvidence.model_validate_json(objects.get_text(k)) for k, _ in objects.keys("evidence/")
    ]
    gate = collection.usable().projects[0].declaration.simulations["nudge"].gate
    failing = {
        k.evidence.artefact_digest for k in kept if judge(k.evidence, gate).outcome == "fail"
    }
    first = collection.places.tracking.version("flowers.classifier", 1)

    collection.collect()

    left = {key.split("/")[1] for key, _ in objects.keys("evidence/")}
    assert (first.artefact_digest in left) == (first.artefact_digest in failing)


def dataset_version(collection, version: str):
    return collection.places.datasets.read("flowers", "iris", version)


@pytest.mark.begins("two versions")
def test_a_dataset_version_goes_with_the_last_model_version_that_learned_from_it(collection):
    loop = collection.loop
    old = loop.metadata("dataset", "iris")["version"]
    file = loop.project.file
    file.write_text(file.read_text().replace("test: 0.4, seed: 1", "test: 0.4, seed: 5"))
    loop.project = load_project(file)
    loop.materialize("dataset")
    collection.declare("{versions: {keep_newest: 2}}")
    assert "dataset version" not in collection.chosen()
    loop.materialize("checkpoint", "model")
    collection.declare("{versions: {keep_newest: 1}}")

    report = collection.collect()

    assert report.failed == []
    new = loop.metadata("dataset", "iris")["version"]
    with pytest.raises(ObjectMissing):
        dataset_version(collection, old)
    kept = dataset_version(collection, new)
    named = {Path(f) for files in kept.of_split.values() for f in files}
    there = {
        Path(collection.places.objects.root, key)
        for key, _ in collection.places.objects.keys("datasets/flowers/iris/fragments/")
    }
    assert there == named


@pytest.mark.begins("two versions")
def test_a_dataset_version_stays_while_work_under_way_may_make_it_again(collection):
    loop = collection.loop
    file = loop.project.file
    file.write_text(file.read_text().replace("test: 0.4, seed: 1", "test: 0.4, seed: 5"))
    loop.project = load_project(file)
    loop.materialize("dataset", "checkpoint", "model")
    collection.declare("{versions: {keep_newest: 1}}")
    plan = collection.collector.plan()
    assert "dataset version" in {item.kind for item in plan.chosen}
    run = DagsterRun(
        job_name="j",
        status=DagsterRunStatus.STARTED,
        asset_selection=frozenset({loop.key("dataset", "iris")}),
    )
    loop.instance.add_run(run)

    report = collection.collector.carry_out(plan.wanted)

    assert "dataset version" in {item.kind for item, _ in report.kept}
    assert not {"dataset version", "data file"} & {item.kind for item in report.removed}


def parts(*names: str) -> dict[str, set[str]]:
    """Names of what lies in folders of the bucket."""
    keys = [key.removeprefix("objects/") for key in listed()]
    return {
        name: {k.removeprefix(f"{name}/").partition("/")[0] for k in keys if k.startswith(name)}
        for name in names
    }


def test_of_a_bucket_checkpoints_and_versions_go_with_everything_that_was_their_own(
    bucket, collection
):
    loop = collection.loop
    families = ("dataset", "checkpoint", "model", "simulation")
    made = loop.materialize(*families)
    assert made.success, loop.failure_of(made)
    file = loop.project.file
    file.write_text(file.read_text().replace("test: 0.4, seed: 1", "test: 0.4, seed: 5"))
    loop.project = load_project(file)
    again = loop.materialize(*families, flowers__checkpoint__classifier={"seed": 2})
    assert again.success, loop.failure_of(again)
    tracking, objects = collection.places.tracking, collection.places.objects
    old, new = (tracking.version("flowers.classifier", number) for number in (1, 2))
    folders = ("checkpoints", "artefacts", "evidence")
    assert {name: len(found) for name, found in parts(*folders).items()} == dict.fromkeys(
        folders, 2
    )
    collection.declare(ALL)

    report = collection.collect()

    assert report.failed == []
    kinds = {item.kind for item in report.removed}
    assert {"model version", "evidence", "simulation results", "artefact"} <= kinds
    assert {"MLflow's copy", "checkpoint", "dataset version", "data file"} <= kinds
    assert [v.version for v in tracking.versions("flowers.classifier")] == [2]
    left = parts(*folders)
    assert left["artefacts"] == left["evidence"] == {new.artefact_digest}
    assert left["checkpoints"] == {
        loop.metadata("checkpoint", "classifier")["uri"].rpartition("/")[2]
    }
    assert not any(old.logged_model in key for key in listed())
    assert any(new.logged_model in key for key in listed())
    objects.fetch_folder(new.artefact_key, new.artefact_digest)
    version = loop.metadata("dataset", "iris")["version"]
    kept = dataset_version(collection, version)
    named = {name for files in kept.of_split.values() for name in files}
    fragments = {k for k in listed() if "/fragments/" in k}
    assert {Path(name).name for name in named} == {Path(key).name for key in fragments}
    assert collection.collect().removed == []
    assert loop.materialize(*families).success
