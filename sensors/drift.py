"""Requests that no longer look like the training data start the next turn, once a version."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import dagster as dg

from assets.recipe import DRIFT, TRIGGER_TAG
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from resources.datasets.store import DatasetStore
from resources.storage.request_logs import RequestLogs
from resources.tracking.adapter import Tracking
from sensors.rounds import look_around
from sensors.service_drift import FEWEST_ROWS, SIGNIFICANCE, SMALLEST_DISTANCE, drift_of

INTERVAL_S = 60
LOOK_S = 20.0
"""What is left after so long is looked at by the next tick."""
MOST_TOLD = 5
DESCRIPTION = (
    "Starts the turn of a project once per served version when the requests of one of its services "
    "no longer look like what the version learned from: two-sample Kolmogorov-Smirnov test per "
    f"feature, chi-squared test for categories, with Bonferroni correction, p < {SIGNIFICANCE} "
    f"and a distance of at least {SMALLEST_DISTANCE}, from {FEWEST_ROWS} requests on. A service "
    "that was asked nothing since the last look is passed over. Where nothing is new to learn "
    "from, the training says so and is skipped."
)


class Served(NamedTuple):
    """A service whose drift starts a turn."""

    project: LoadedProject
    name: str

    @property
    def key(self) -> str:
        """Identity among all projects."""
        return f"{self.project.name}.{self.name}"


class Adapters(NamedTuple):
    """What a look asks."""

    datasets: DatasetStore
    tracking: Tracking
    request_logs: RequestLogs


def build_drift_sensors(
    projects: Sequence[LoadedProject], jobs: Mapping[str, dg.JobDefinition]
) -> list[dg.SensorDefinition]:
    """One sensor for the services of all projects in which drift retrains, or none.

    Jobs by name.
    """
    served = list(_served(projects))
    if not served:
        return []
    turns = {job_name("turn", each.project.name) for each in served}
    looked: dict[str, str] = {}
    """State of the request log at the newest look of this process, by service."""

    @dg.sensor(
        name="on_drift",
        jobs=[jobs[name] for name in sorted(turns)],
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=DESCRIPTION,
    )
    def on_drift(
        context: dg.SensorEvaluationContext,
        datasets: dg.ResourceParam[DatasetStore],
        tracking: dg.ResourceParam[Tracking],
        request_logs: dg.ResourceParam[RequestLogs],
    ) -> dg.SensorResult:
        begin = json.loads(context.cursor)["next"] if context.cursor else 0
        look = _Look(Adapters(datasets, tracking, request_logs), looked)
        next_one = look_around(served, begin, look.at, LOOK_S)
        for line in look.told:
            context.log.info(line)
        return dg.SensorResult(
            run_requests=look.requests,
            skip_reason=None if look.requests else look.summary(len(served)),
            cursor=json.dumps({"next": next_one}),
        )

    return [on_drift]


class _Look:
    """One look at the requests of services."""

    def __init__(self, adapters: Adapters, looked: dict[str, str]) -> None:
        self._adapters, self._looked = adapters, looked
        self.requests: list[dg.RunRequest] = []
        self.told: list[str] = []
        """What was found of each service that was asked something."""
        self._quiet = 0

    def at(self, each: Served) -> None:
        """Look at one service."""
        try:
            self._look_at(each)
        except Exception as error:
            # Of a model or a dataset that is gone, or an outage: it is of this service alone.
            self.told.append(f"{each.key}: {type(error).__name__}: {error}")

    def _look_at(self, each: Served) -> None:
        log = self._adapters.request_logs.mark(each.key)
        if self._looked.get(each.key) == log:
            self._quiet += 1
            return
        measured = drift_of(each.project, each.name, *self._adapters)
        if isinstance(measured, str) or not measured.drift.is_drift:
            # A look that failed, or that asks for a turn, is repeated: the request may be lost.
            self._looked[each.key] = log
        if isinstance(measured, str):
            self.told.append(f"{each.key}: {measured}")
            return
        drift = measured.drift
        if not drift.is_drift:
            found = f"no drift in {measured.requests} requests; nearest {drift}"
            self.told.append(f"{each.key}: {found}")
            return
        self.told.append(f"{each.key}: {drift}")
        self.requests.append(
            dg.RunRequest(
                # A retraining that gives the same bytes, or has nothing new to learn, must not
                # start another.
                run_key=f"{each.key}-{measured.artefact_digest}",
                job_name=job_name("turn", each.project.name),
                tags={TRIGGER_TAG: DRIFT, "orrery/drift": f"{each.name}: {drift}"[:250]},
            )
        )

    def summary(self, served: int) -> str:
        """What a person reads of a look that starts nothing."""
        parts = self.told[:MOST_TOLD]
        if more := len(self.told[MOST_TOLD:]):
            parts.append(f"{more} more are told in the log of the tick")
        parts.append(f"{self._quiet} of {served} services were asked nothing since the last look")
        return "; ".join(parts)


def _served(projects: Sequence[LoadedProject]) -> Iterator[Served]:
    for project in projects:
        declaration = project.declaration
        if "drift" not in declaration.automation.retrain.on:
            continue
        for name, service in declaration.services.items():
            if declaration.models[service.model].dataset and service.request_log.enabled:
                yield Served(project, name)
