"""Requests that no longer look like the training data start the next turn, once a version."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import dagster as dg
import numpy as np

from assets.keys import op_name
from assets.recipe import DRIFT, TRIGGER_TAG
from engine.artefact import Column
from engine.rows import columns_of, read_rows
from engine.runtime.table_rows import values_of
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from resources.datasets.store import DatasetStore
from resources.datasets.version import DatasetVersion
from resources.storage.request_logs import RecentRequests, RequestLogs
from resources.tracking.adapter import Tracking
from resources.tracking.registry import registered_name

INTERVAL_S = 60
FEWEST_ROWS = 100
SIGNIFICANCE = 0.001
CATEGORIES = "total variation distance"
SMALLEST_DISTANCE = 0.15
"""Differences below it are not acted on, however certain many rows make them."""


class Drift(NamedTuple):
    """How far the requests are from the training data."""

    feature: str
    """The feature that differs most."""
    distance: float
    """Two-sample Kolmogorov-Smirnov statistic of numbers and lengths of texts, total variation
    distance of categories; 0 to 1."""
    p_value: float
    """Corrected for the number of features (Bonferroni)."""
    measure: str = "Kolmogorov-Smirnov distance"

    @property
    def is_drift(self) -> bool:
        """Whether it is worth a new model."""
        return self.p_value < SIGNIFICANCE and self.distance >= SMALLEST_DISTANCE

    def __str__(self) -> str:
        return (
            f"{self.feature}: {self.measure} {self.distance:.3f}, p = "
            f"{self.p_value:.2g} after Bonferroni (drift: p < {SIGNIFICANCE} and distance >= "
            f"{SMALLEST_DISTANCE})"
        )


def measure_drift(
    training: Mapping[str, np.ndarray], requests: Mapping[str, np.ndarray], columns: list[Column]
) -> Drift:
    """The feature whose distribution differs most, by the two-sample Kolmogorov-Smirnov test, or
    the chi-squared test for categories.

    Values by column as `engine.runtime.tensors` describes them; missing ones are left out.
    """
    measured = [
        _drift_of(column, training[column.name], requests[column.name], len(columns))
        for column in columns
    ]
    # Certain first: few values may be far apart by chance, and must not hide another's drift.
    return max(measured, key=lambda drift: (drift.p_value < SIGNIFICANCE, drift.distance))


def _drift_of(column: Column, training: np.ndarray, requests: np.ndarray, features: int) -> Drift:
    if column.kind == "category":
        return _drift_of_categories(column.name, training, requests, features)
    if column.kind == "text":
        training, requests = _lengths(training), _lengths(requests)
    training, requests = (values[~np.isnan(values)] for values in (training, requests))
    if not len(training) or not len(requests):
        return Drift(column.name, 0.0, 1.0)
    from scipy.stats import ks_2samp

    test: Any = ks_2samp(training, requests)
    return Drift(column.name, float(test.statistic), min(1.0, float(test.pvalue) * features))


def _lengths(texts: np.ndarray) -> np.ndarray:
    return np.array([np.nan if text is None else len(text) for text in texts], float)


def _drift_of_categories(
    name: str, training: np.ndarray, requests: np.ndarray, features: int
) -> Drift:
    learned = Counter(value for value in training if value is not None)
    asked = Counter(value for value in requests if value is not None)
    known = sorted({*learned, *asked})
    table = np.array([[learned[value] for value in known], [asked[value] for value in known]])
    if len(known) < 2 or not table.sum(axis=1).all():
        return Drift(name, 0.0, 1.0, CATEGORIES)
    from scipy.stats import chi2_contingency

    shares = table / table.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    p_value: Any = chi2_contingency(table).pvalue  # type: ignore[union-attr]
    return Drift(name, distance, min(1.0, float(p_value) * features), CATEGORIES)


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
        recent = request_logs.recent(f"{project.name}.{name}")
        if recent is None or len(recent.rows) < FEWEST_ROWS:
            rows = 0 if recent is None else len(recent.rows)
            return dg.SkipReason(f"{rows} requests logged, {FEWEST_ROWS} needed for the test")
        version = tracking.version(registered_name(project.name, model), recent.model_version)
        dataset_version = version.tags["orrery.dataset_version"]
        declaration = version.tags.get("orrery.dataset_declaration")
        learned = datasets.read(project.name, dataset, dataset_version, declaration)
        columns = _columns(recent, learned)
        if not columns:
            return dg.SkipReason(f"requests of {name} are no columns of the dataset {dataset}")
        table = read_rows(learned.train, [column.name for column in columns])
        asked = {
            column.name: values_of(column.kind, values)
            for column, values in zip(columns, zip(*recent.rows, strict=True), strict=True)
        }
        drift = measure_drift(columns_of(table, columns), asked, columns)
        if not drift.is_drift:
            return dg.SkipReason(f"no drift in {len(recent.rows)} requests; nearest {drift}")
        context.log.info(str(drift))
        return dg.RunRequest(
            # A retraining that gives the same bytes, or has nothing new to learn, must not start
            # another.
            run_key=f"{name}-{version.artefact_digest}",
            tags={TRIGGER_TAG: DRIFT, "orrery/drift": str(drift)[:250]},
        )

    return on_drift


def _columns(recent: RecentRequests, learned: DatasetVersion) -> list[Column]:
    """The column of each value of a request; none where they are no columns of the dataset."""
    # Logs of services that were packaged before columns had names hold the features in order.
    names = recent.columns or learned.features
    known = {column.name: column for column in learned.columns}
    fits = len(names) == len(recent.rows[0]) and all(name in known for name in names)
    return [known[name] for name in names] if fits else []
