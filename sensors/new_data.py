"""New files in watched folders or bucket prefixes start the next turn of their project, once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import dagster as dg

from jobs.project_jobs import job_name
from projects.dataset import Dataset
from projects.loading import LoadedProject
from resources.datasets.sources import SourceUnreachable, SourceUnreadable, watched_files
from resources.storage.object_store import ObjectStore
from sensors.known_files import KnownFiles
from sensors.rounds import look_around

INTERVAL_S = 15
LOOK_S = 20.0
"""What is left after so long is looked at by the next tick, which a slow bucket does not delay."""
MOST_PROBLEMS = 5
DESCRIPTION = (
    "Starts the turn of a project once when files appear or change in what one of its datasets "
    "watches. What was there at the first look is taken as known; a file that still grows is "
    "waited for."
)


class Watched(NamedTuple):
    """A dataset whose new files start a turn."""

    project: LoadedProject
    name: str

    @property
    def key(self) -> str:
        """Identity among all projects."""
        return f"{self.project.name}.{self.name}"

    @property
    def declared(self) -> Dataset:
        """The dataset as it is declared."""
        return self.project.declaration.datasets[self.name]


def build_new_data_sensors(
    projects: Sequence[LoadedProject], jobs: Mapping[str, dg.JobDefinition]
) -> list[dg.SensorDefinition]:
    """One sensor for the watched datasets of all projects in which new data retrains, or none.

    Jobs by name.
    """
    watched = list(_watched(projects))
    if not watched:
        return []
    turns = {job_name("turn", each.project.name) for each in watched}
    known = KnownFiles()

    @dg.sensor(
        name="on_new_data",
        jobs=[jobs[name] for name in sorted(turns)],
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=DESCRIPTION,
    )
    def on_new_data(
        context: dg.SensorEvaluationContext, objects: dg.ResourceParam[ObjectStore]
    ) -> dg.SensorResult:
        # Dagster keeps the cursor with the requests of its tick, so what it names has started.
        acted, begin = _read(context.cursor)
        for key, digest in acted.items():
            known.settle(objects, key, digest)
        look = _Look(known, objects)
        next_one = look_around(watched, begin, look.at, LOOK_S)
        for problem in look.problems:
            context.log.warning(problem)
        return dg.SensorResult(
            run_requests=look.requests,
            skip_reason=None if look.requests else look.summary(len(watched)),
            cursor=json.dumps({"acted": look.acted, "next": next_one}),
        )

    return [on_new_data]


class _Look:
    """One look at what is watched."""

    def __init__(self, known: KnownFiles, objects: ObjectStore) -> None:
        self._known, self._objects = known, objects
        self.requests: list[dg.RunRequest] = []
        self.acted: dict[str, str] = {}
        """Digest of the files that each request is for, by dataset."""
        self.problems: list[str] = []
        self._growing = self._first = self._looked = 0

    def at(self, each: Watched) -> None:
        """Look at one dataset; what cannot be listed is a problem of that one alone."""
        try:
            self._look_at(each)
        except (SourceUnreachable, SourceUnreadable, OSError) as error:
            self.problems.append(f"{each.key}: {error}")

    def _look_at(self, each: Watched) -> None:
        found = self._known.look(
            self._objects, each.key, watched_files(each.declared, each.project.base)
        )
        self._looked += 1
        self._growing += found.growing
        self._first += found.is_first
        if not found.fresh:
            return
        tags = {
            "trigger": "new_data",
            "orrery/files": str(len(found.fresh)),
            "orrery/dataset": each.name,
        }
        # Dagster starts one dagster_run for a run_key, however often it is asked for.
        key = f"{each.key}-{found.digest}"
        job = job_name("turn", each.project.name)
        self.requests.append(dg.RunRequest(run_key=key, job_name=job, tags=tags))
        self.acted[each.key] = found.digest

    def summary(self, watched: int) -> str:
        """What a person reads of a look that starts nothing."""
        parts = [f"no new file in {self._looked} of {watched} watched datasets"]
        if self._first:
            parts.append(f"{self._first} are known from this look on")
        if self._growing:
            parts.append(f"{self._growing} files are still being written")
        parts += self.problems[:MOST_PROBLEMS]
        if more := len(self.problems[MOST_PROBLEMS:]):
            parts.append(f"{more} more cannot be listed")
        return "; ".join(parts)


def _watched(projects: Sequence[LoadedProject]) -> Iterator[Watched]:
    for project in projects:
        if "new_data" in project.declaration.automation.retrain.on:
            for name, dataset in project.declaration.datasets.items():
                if dataset.watched:
                    yield Watched(project, name)


def _read(cursor: str | None) -> tuple[dict[str, str], int]:
    """What the tick before acted on, and where this one begins."""
    content = json.loads(cursor) if cursor else {}
    return content.get("acted", {}), content.get("next", 0)
