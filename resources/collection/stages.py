"""What is looked at, in the order in which it is removed: nothing goes before what refers to it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from resources.collection.checkpoints import checkpoint_items
from resources.collection.datasets import dataset_items
from resources.collection.datasets import file_items as data_file_items
from resources.collection.item import Item, Kind
from resources.collection.journal import Journal
from resources.collection.logs import log_items
from resources.collection.models import (
    artefact_items,
    bento_items,
    copy_items,
    evidence_items,
    remaining,
    version_items,
)
from resources.collection.runs import file_items, folder_items, run_items
from resources.collection.world import Places, World
from resources.orchestration.events import DagsterEvents
from resources.orchestration.history import EndedRun
from resources.tracking.registry import RegisteredVersion


@dataclass
class Pass:
    """One look through everything."""

    places: Places
    events: DagsterEvents
    journal: Journal
    world: World
    found: dict[Kind, list[Item]] = field(default_factory=dict)
    gone: set[tuple[Kind, str]] = field(default_factory=set)
    """What is removed, or would be."""

    @property
    def versions(self) -> list[RegisteredVersion]:
        """Model versions that stay."""
        going = [item for item in self.found.get("model version", ()) if self._is_gone(item)]
        return remaining(self.world, going)

    @cached_property
    def ended(self) -> list[EndedRun]:
        """Dagster_runs that are over; none of them begins again."""
        return list(self.places.history.ended())

    def look(self, items: Iterable[Item]) -> list[Item]:
        """The items, noted for the stages that follow."""
        noted = list(items)
        for item in noted:
            self.found.setdefault(item.kind, []).append(item)
        return noted

    def staying(self, kind: Kind) -> set[str]:
        """Names of what stays of the kind."""
        return {item.name for item in self.found.get(kind, ()) if not self._is_gone(item)}

    def _is_gone(self, item: Item) -> bool:
        return (item.kind, item.name) in self.gone


def _model_versions(look: Pass) -> list[Item]:
    return look.look(version_items(look.world))


def _evidence(look: Pass) -> list[Item]:
    return look.look(evidence_items(look.places, look.world, look.versions))


def _artefacts(look: Pass) -> list[Item]:
    staying = {(v.name, v.version) for v in look.versions}
    going = [v for v in look.world.versions if (v.name, v.version) not in staying]
    left = look.journal.with_versions(going)
    return look.look(
        [
            *artefact_items(look.places, look.world, look.versions, left.artefacts),
            *copy_items(look.places, look.world, look.versions, left.copies),
            *bento_items(look.places, look.world, look.versions),
        ]
    )


def _checkpoints(look: Pass) -> list[Item]:
    made = look.places.history.made()
    return look.look(checkpoint_items(look.places, look.events, look.world, made, look.versions))


def _datasets(look: Pass) -> list[Item]:
    made = look.places.history.made()
    return look.look(dataset_items(look.places, look.world, made, look.versions))


def _data_files(look: Pass) -> list[Item]:
    gone = {name for kind, name in look.gone if kind == "dataset version"}
    return look.look(data_file_items(look.places, look.world, gone))


def _logs(look: Pass) -> list[Item]:
    projects = {run.run_id: run.project for run in look.ended}
    going = {run.run_id: next(iter(run.projects), "") for run in look.world.runs}
    return look.look(
        [
            *log_items(look.places, look.world, {**projects, **going}),
            *folder_items(look.places, look.world),
        ]
    )


def _runs(look: Pass) -> list[Item]:
    there = {version.artefact_digest for version in look.versions}
    there |= look.staying("checkpoint")
    there |= {name.rpartition("/")[2] for name in look.staying("dataset version")}
    results = look.staying("simulation results")
    there |= {name.rpartition("/")[2].removesuffix(".parquet") for name in results}
    made = look.places.history.made()
    return look.look(
        [
            *run_items(look.places, look.world, look.ended, made, there),
            *file_items(look.places),
        ]
    )


STAGES: tuple[Callable[[Pass], list[Item]], ...] = (
    _model_versions,
    _evidence,
    _artefacts,
    _checkpoints,
    _datasets,
    _data_files,
    _logs,
    _runs,
)
