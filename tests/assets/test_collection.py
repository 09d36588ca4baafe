"""What is no longer kept is removed from a state folder that real jobs have filled."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from engine import lease
from projects.loading import load_project
from resources.collection.collector import Collector
from resources.collection.world import Places, Work
from resources.declarations import Broken, Usable
from resources.orchestration.events import DagsterEvents
from resources.orchestration.history import RunHistory
from resources.settings import CHECKOUT

OLD_S = 40 * 86_400.0


class Later:
    """A clock that is far ahead, so that all of now is old."""

    def __init__(self, by_s: float = OLD_S) -> None:
        self._by_s = by_s

    def time(self) -> float:
        return time.time() + self._by_s


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
        return self.collector.carry_out(self.collector.plan())


@pytest.fixture
def collection(loop, monkeypatch):
    return Collection(loop, monkeypatch)


ALL = "{runs: {keep_days: 7}, checkpoints: {keep_newest: 1}, versions: {keep_newest: 1}}"


def retrained(loop, seed: int) -> None:
    seeded = {"flowers__checkpoint__classifier": {"seed": seed}}
    result = loop.materialize("checkpoint", "model", "simulation", **seeded)
    assert result.success, loop.failure_of(result)


@pytest.mark.begins("two versions")
def test_without_a_declaration_nothing_goes(collection):
    assert collection.collector.plan().chosen == []


@pytest.mark.begins("two versions")
def test_what_is_not_kept_goes_with_everything_that_was_its_own(collection):
    collection.declare(ALL)
    retrained(collection.loop, 3)
    tracking, objects = collection.places.tracking, collection.places.objects
    first = tracking.version("flowers.classifier", 1)
    copies = collection.loop.settings.state / "mlflow" / "flowers" / "models"
    assert len(list(copies.iterdir())) == 3

    report = collection.collect()

    assert report.failed == []
    assert [v.version for v in tracking.versions("flowers.classifier")] == [3]
    assert not objects.has(first.artefact_key)
    assert len(list(objects.listed("artefacts/"))) > 0
    assert {key.split("/")[1] for key, _ in objects.keys("artefacts/")} == {
        tracking.version("flowers.classifier", 3).artefact_digest
    }
    assert len(list(copies.glob("*/artifacts/*"))) > 0
    assert len({path.parent for path in copies.glob("*/artifacts/MLmodel")}) == 1
    assert len({key.split("/")[1] for key, _ in objects.keys("checkpoints/")}) == 1
    assert len({key.split("/")[1] for key, _ in objects.keys("evidence/")}) == 1
    assert len(list(objects.keys("simulations/"))) == 1
    assert sum(item.bytes for item in report.removed) > 0
    assert not objects.has("collection/pending.json")
