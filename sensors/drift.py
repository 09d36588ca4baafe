"""Requests that no longer look like the training data start the next turn, once a version."""

from typing import Any, NamedTuple

import dagster as dg
import numpy as np

from assets.keys import op_name
from assets.recipe import DRIFT, TRIGGER_TAG
from engine.rows import read_rows
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from resources.datasets.store import DatasetStore
from resources.storage.request_logs import RequestLogs
from resources.tracking.adapter import Tracking
from resources.tracking.registry import registered_name

INTERVAL_S = 60
FEWEST_ROWS = 100
SIGNIFICANCE = 0.001
SMALLEST_DISTANCE = 0.15
"""Differences below it are not acted on, however certain many rows make them."""


class Drift(NamedTuple):
    """How far the requests are from the training data."""

    feature: str
    """The feature that differs most."""
    distance: float
    """Two-sample Kolmogorov-Smirnov statistic, 0 to 1."""
    p_value: float
    """Corrected for the number of features (Bonferroni)."""

    @property
    def is_drift(self) -> bool:
        """Whether it is worth a new model."""
        return self.p_value < SIGNIFICANCE and self.distance >= SMALLEST_DISTANCE

    def __str__(self) -> str:
        return (
            f"{self.feature}: Kolmogorov-Smirnov distance {self.distance:.3f}, p = "
            f"{self.p_value:.2g} after Bonferroni (drift: p < {SIGNIFICANCE} and distance >= "
            f"{SMALLEST_DISTANCE})"
        )


def measure_drift(training: np.ndarray, requests: np.ndarray, features: list[str]) -> Drift:
    """The feature whose distribution differs most, by the two-sample Kolmogorov-Smirnov test.

    Both arrays are [rows, features]; values that are not numbers are left out.
    """
    measured = [
        _drift_of(name, training[:, i], requests[:, i], len(features))
        for i, name in enumerate(features)
    ]
    # Certain first: few values may be far apart by chance, and must not hide another's drift.
    return max(measured, key=lambda drift: (drift.p_value < SIGNIFICANCE, drift.distance))


def _drift_of(name: str, training: np.ndarray, requests: np.ndarray, features: int) -> Drift:
    from scipy.stats import ks_2samp

    training, requests = (values[~np.isnan(values)] for values in (training, requests))
    if not len(training) or not len(requests):
        return Drift(name, 0.0, 1.0)
    test: Any = ks_2samp(training, requests)
    return Drift(name, float(test.statistic), min(1.0, float(test.pvalue) * features))


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
    model = project.declaration.services[name].model
    dataset = project.declaration.models[model].dataset or ""

    @dg.sensor(
        name=op_name(f"on_drift_{project.name}_{name}"),
        job_name=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Starts `{job}` once per served version when the requests of `{name}` no "
        "longer look like what the version learned from: two-sample Kolmogorov-Smirnov test per "
        f"feature with Bonferroni correction, p < {SIGNIFICANCE} and a distance of at least "
        f"{SMALLEST_DISTANCE}, from {FEWEST_ROWS} requests on. Where nothing is new to learn from, "
        "the training says so and is skipped.",
    )
    def on_drift(
        context: dg.SensorEvaluationContext,
        datasets: dg.ResourceParam[DatasetStore],
        tracking: dg.ResourceParam[Tracking],
        request_logs: dg.ResourceParam[RequestLogs],
    ) -> dg.RunRequest | dg.SkipReason:
        recent = request_logs.recent(f"{project.name}.{name}")
        if recent is None or len(recent.inputs) < FEWEST_ROWS:
            rows = 0 if recent is None else len(recent.inputs)
            return dg.SkipReason(f"{rows} requests logged, {FEWEST_ROWS} needed for the test")
        version = tracking.version(registered_name(project.name, model), recent.model_version)
        dataset_version = version.tags["orrery.dataset_version"]
        declaration = version.tags.get("orrery.dataset_declaration")
        learned = datasets.read(project.name, dataset, dataset_version, declaration)
        table = read_rows(learned.train, learned.features)
        columns = [table.column(f).to_numpy().astype(np.float64) for f in learned.features]
        training = np.stack(columns, axis=1)
        drift = measure_drift(training, recent.inputs, learned.features)
        if not drift.is_drift:
            return dg.SkipReason(f"no drift in {len(recent.inputs)} requests; nearest {drift}")
        context.log.info(str(drift))
        return dg.RunRequest(
            # A retraining that gives the same bytes, or has nothing new to learn, must not start
            # another.
            run_key=f"{name}-{version.artefact_digest}",
            tags={TRIGGER_TAG: DRIFT, "orrery/drift": str(drift)[:250]},
        )

    return on_drift
