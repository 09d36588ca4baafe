"""Plans what goes, and removes it.

timeout, retry: those of the adapters; what fails is told and goes on next time.
cancel: a removal that is interrupted, at any moment, is taken up by the next one.
duplicate: one removal at a time for each state folder and each database of Dagster.
partial write: nothing goes before what refers to it; each thing is looked at again right before.
"""

import os
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from engine import lease
from projects.retention import Kept, KeptCheckpoints, Retention
from resources.collection.item import Item, Kind, Sorted
from resources.collection.journal import Journal
from resources.collection.removal import Removal, StillNeeded
from resources.collection.rules import Policies, sort_out
from resources.collection.stages import STAGES, Pass
from resources.collection.world import Places, World
from resources.declarations import Usable
from resources.orchestration.events import DagsterEvents, EventsUnavailable
from resources.orchestration.postgresql_lock import alone_on_postgresql
from resources.tracking.connection import TrackingRefused, TrackingUnavailable

LOCK = "collection"


class Report(NamedTuple):
    """What became of a plan."""

    removed: list[Item]
    kept: list[tuple[Item, str]]
    """Of the plan, what turned out to be needed."""
    failed: list[tuple[Item, str]]


class Collector:
    """Plans and removes for all projects of an installation, or for some of them."""

    def __init__(
        self,
        places: Places,
        events: DagsterEvents,
        usable: Callable[[], Usable],
        is_wanted: Callable[[str], bool] = lambda project: True,
    ) -> None:
        """`is_wanted` is given the name of a project, or nothing for what belongs to none."""
        self._places, self._events, self._usable = places, events, usable
        self._is_wanted = is_wanted

    def plan(self) -> Sorted:
        """What would go now. Raises what the adapters raise."""
        look, plan = self._pass(), Sorted([], [])
        for stage in STAGES:
            sorted_out = self._sorted(stage(look), look.world)
            look.gone |= {(item.kind, item.name) for item in sorted_out.chosen}
            plan.chosen.extend(sorted_out.chosen)
            plan.kept.extend(sorted_out.kept)
        return plan

    def carry_out(
        self, wanted: Set[tuple[Kind, str]], tell: Callable[[Report], None] = lambda _: None
    ) -> Report:
        """Remove what is wanted, by kind and name, and is still to go; `tell` is given what became
        of it so far.

        Raises engine.lease.AlreadyRunning where another removal is under way, or what the adapters
        raise where it cannot be known what is needed.
        """
        report = Report([], [], [])
        with self._alone():
            look = self._pass()
            removal = Removal(self._places)
            for number, stage in enumerate(STAGES):
                if number:
                    look.world = self._seen()
                sorted_out = self._sorted(stage(look), look.world)
                ready = [i for i in sorted_out.chosen if (i.kind, i.name) in wanted]
                report.kept.extend(
                    pair for pair in sorted_out.kept if (pair[0].kind, pair[0].name) in wanted
                )
                self._note(look, ready)
                for item in ready:
                    self._remove(removal, item, look, report)
                    tell(report)
            self._forget(look)
        return report

    def _note(self, look: Pass, ready: list[Item]) -> None:
        """Write down what the versions leave behind where the removal is interrupted."""
        names = {item.name for item in ready if item.kind == "model version"}
        going = [v for v in look.world.versions if f"{v.name} {v.version}" in names]
        if going:
            look.journal = look.journal.with_versions(going)
            look.journal.keep(self._places.objects)

    def _forget(self, look: Pass) -> None:
        """Strike out what is gone, and what a version that stays needs after all."""
        needed = {version.artefact_digest for version in look.versions}
        used = {version.logged_model for version in look.versions}
        left = look.journal.only(
            look.staying("artefact") - needed, look.staying("MLflow's copy") - used
        )
        if left != look.journal:
            left.keep(self._places.objects)

    def _remove(self, removal: Removal, item: Item, look: Pass, report: Report) -> None:
        try:
            removal.remove(item)
        except StillNeeded as needed:
            report.kept.append((item, str(needed)))
        except (OSError, TrackingUnavailable, TrackingRefused, EventsUnavailable) as error:
            report.failed.append((item, str(error)))
        else:
            look.gone.add((item.kind, item.name))
            report.removed.append(item)

    def _pass(self) -> Pass:
        journal = Journal.read(self._places.objects)
        return Pass(self._places, self._events, journal, self._seen())

    def _seen(self) -> World:
        usable, s = self._usable(), self._places.settings
        policies = Policies(
            {project.name: project.declaration.retention for project in usable.projects},
            frozenset(broken.name for broken in usable.broken),
            Retention(
                runs=Kept(keep_days=s.retention_runs_days),
                logs=Kept(keep_days=s.retention_logs_days),
                checkpoints=KeptCheckpoints(keep_days=s.retention_objects_days),
                versions=Kept(keep_days=s.retention_objects_days),
            ),
        )
        return World.seen(self._places, policies, usable.projects, time.time())

    def _sorted(self, items: list[Item], world: World) -> Sorted:
        items = [item for item in items if self._is_wanted(item.project)]
        return sort_out(items, world.policies, world.now)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder: Path = self._places.settings.state / LOCK
        folder.mkdir(parents=True, exist_ok=True)
        with alone_on_postgresql(self._places.settings.dagster_storage):
            lock = lease.hold(folder)
            try:
                yield
            finally:
                os.close(lock)
