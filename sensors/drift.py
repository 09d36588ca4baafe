"""Requests that no longer look like the training data start the next turn, once a version."""

import dagster as dg

from assets.keys import op_name
from assets.recipe import DRIFT, TRIGGER_TAG
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from resources.datasets.store import DatasetStore
from resources.storage.request_logs import RequestLogs
from resources.tracking.adapter import Tracking
from sensors.service_drift import FEWEST_ROWS, SIGNIFICANCE, SMALLEST_DISTANCE, drift_of

INTERVAL_S = 60


def build_drift_sensors(project: LoadedProject) -> list[dg.SensorDefinition]:
    """One sensor per service whose model learned from a dataset, where drift retrains."""
    declaration = project.declaration
    if "drift" not in declaration.automation.retrain.on:
        return []
    return [
        _sensor(project, name)
        for name, service in declaration.services.items()
        if declaration.models[service.model].dataset and service.request_log.enabled
    ]


def _sensor(project: LoadedProject, name: str) -> dg.SensorDefinition:
    job = job_name("turn", project.name)

    @dg.sensor(
        name=op_name(f"on_drift_{project.name}_{name}"),
        job_name=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Starts `{job}` once per served version when the requests of `{name}` no "
        "longer look like what the version learned from: two-sample Kolmogorov-Smirnov test per "
        "feature, chi-squared test for categories, with Bonferroni correction, "
        f" p < {SIGNIFICANCE} and a distance of at least "
        f"{SMALLEST_DISTANCE}, from {FEWEST_ROWS} requests on. Where nothing is new to learn from, "
        "the training says so and is skipped.",
    )
    def on_drift(
        context: dg.SensorEvaluationContext,
        datasets: dg.ResourceParam[DatasetStore],
        tracking: dg.ResourceParam[Tracking],
        request_logs: dg.ResourceParam[RequestLogs],
    ) -> dg.RunRequest | dg.SkipReason:
        measured = drift_of(project, name, datasets, tracking, request_logs)
        if isinstance(measured, str):
            return dg.SkipReason(measured)
        drift = measured.drift
        if not drift.is_drift:
            return dg.SkipReason(f"no drift in {measured.requests} requests; nearest {drift}")
        context.log.info(str(drift))
        return dg.RunRequest(
            # A retraining that gives the same bytes, or has nothing new to learn, must not start
            # another.
            run_key=f"{name}-{measured.artefact_digest}",
            tags={TRIGGER_TAG: DRIFT, "orrery/drift": str(drift)[:250]},
        )

    return on_drift
