"""What is needed: the registry, what serves, work under way, and what dagster_runs have made."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from projects.loading import LoadedProject
from resources.collection.rules import Policies
from resources.datasets.store import DatasetStore
from resources.orchestration.history import GoingRun, RunHistory
from resources.services.in_use import InUse
from resources.services.local import Runtime
from resources.settings import Settings
from resources.storage.evidence import EvidenceStore
from resources.storage.object_store import ObjectStore
from resources.tracking.adapter import Tracking
from resources.tracking.registry import PROMOTED_AT, RegisteredVersion

EARLIER = 2
"""Champions of a model that stay: the present one, and the one before, to which people go back."""


class Work(NamedTuple):
    """A job or a dagster_run that is not over."""

    projects: frozenset[str]
    """Empty where they are not known: any."""
    began_at: float
    mentions: frozenset[str]
    """Every value that it was given, as text."""
    makes: frozenset[tuple[str, ...]] = frozenset()
    """Keys of assets; empty where they are not known: any."""


@dataclass(frozen=True)
class Places:
    """The adapters to everything that takes room."""

    settings: Settings
    objects: ObjectStore
    datasets: DatasetStore
    evidence: EvidenceStore
    tracking: Tracking
    runtime: Runtime
    history: RunHistory
    jobs_under_way: Callable[[], list[Work]]


@dataclass(frozen=True)
class World:
    """The state of a moment, as far as it decides what stays."""

    now: float
    policies: Policies
    projects: dict[str, LoadedProject]
    versions: list[RegisteredVersion]
    in_use: list[InUse]
    runs: list[GoingRun]
    jobs: list[Work]

    @classmethod
    def seen(
        cls, places: Places, policies: Policies, projects: Iterable[LoadedProject], now: float
    ) -> "World":
        """What is there now. Raises what the adapters raise where one cannot be read."""
        return cls(
            now,
            policies,
            {project.name: project for project in projects},
            places.tracking.every_version(),
            places.runtime.in_use(),
            places.history.going(),
            places.jobs_under_way(),
        )

    @cached_property
    def work(self) -> list[Work]:
        """Everything that is under way."""
        return [*(Work(r.projects, r.began_at, r.mentions, r.makes) for r in self.runs), *self.jobs]

    def work_of(self, project: str) -> list[Work]:
        """What is under way for the project, as far as it is known."""
        return [each for each in self.work if not each.projects or project in each.projects]

    def mentioned(self, project: str, name: str) -> bool:
        """Whether work under way of the project was given this name."""
        return any(name in each.mentions for each in self.work_of(project))

    def newest_for_work(self, project: str, times: Iterable[float]) -> float:
        """The time from which on items of a series stay: the newest one when the oldest work under
        way began may be what it works with, and the newest of all is what the next takes."""
        began = min((each.began_at for each in self.work_of(project)), default=float("inf"))
        ordered = sorted(times)
        earlier = [at for at in ordered if at < began]
        return earlier[-1] if earlier else (ordered[0] if ordered else 0.0)

    def makes(self, project: str, asset: tuple[str, ...]) -> bool:
        """Whether work under way may make the asset at this moment."""
        return any(not each.makes or asset in each.makes for each in self.work_of(project))

    @cached_property
    def of_model(self) -> dict[str, list[RegisteredVersion]]:
        """Versions by registered name, the newest first."""
        found = defaultdict(list)
        for version in sorted(self.versions, key=lambda each: -each.version):
            found[version.name].append(version)
        return found

    @cached_property
    def _since(self) -> dict[str, float]:
        """From when on versions of a registered model stay."""
        return {
            name: self.newest_for_work(name.partition(".")[0], (v.created_at for v in alike))
            for name, alike in self.of_model.items()
        }

    @cached_property
    def _champions(self) -> set[tuple[str, int]]:
        """Champions of now and before, by registered name and number."""
        found = set()
        for name, alike in self.of_model.items():
            promoted = [each for each in alike if PROMOTED_AT in each.tags]
            promoted.sort(key=lambda each: -float(each.tags[PROMOTED_AT]))
            found |= {(name, each.version) for each in promoted[:EARLIER]}
        return found

    @cached_property
    def _answering(self) -> tuple[set[str], set[tuple[str, int]]]:
        """Artefacts that services use; where one is not known, its project and version."""
        known = {each.artefact_digest for each in self.in_use if each.artefact_digest}
        others = [each for each in self.in_use if not each.artefact_digest]
        return known, {(e.service.partition(".")[0], e.model_version) for e in others}

    def needs_version(self, version: RegisteredVersion) -> str:
        """Why the model version stays whatever is declared; empty where it may go."""
        project = version.name.partition(".")[0]
        digests, numbers = self._answering
        if version.aliases:
            return f"has the alias {', '.join(version.aliases)}"
        if version.artefact_digest in digests or (project, version.version) in numbers:
            return "serves, or traffic may return to it"
        if (version.name, version.version) in self._champions:
            return "is or was the champion"
        if self.mentioned(project, str(version.version)):
            return "work under way names it"
        if version.created_at >= self._since[version.name]:
            return "is the newest, or was when work under way began"
        return ""
