"""How far the requests of one service are from what its model learned from."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from engine.artefact import Column
from engine.rows import columns_of, read_rows
from engine.runtime.table_rows import values_of
from projects.loading import LoadedProject
from resources.datasets.store import DatasetStore
from resources.datasets.version import DatasetVersion
from resources.storage.request_logs import RecentRequests, RequestLogs
from resources.tracking.adapter import Tracking
from resources.tracking.registry import registered_name

FEWEST_ROWS = 100
SIGNIFICANCE = 0.001
MOST_EXACT = 1_000
"""Values of a sample from which on p-values are approximate."""
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

    # The exact p-value of many values takes several times as long and differs by little.
    method = "auto" if max(len(training), len(requests)) <= MOST_EXACT else "asymp"
    test: Any = ks_2samp(training, requests, method=method)
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


class Measured(NamedTuple):
    """What the newest requests of a service tell."""

    drift: Drift
    requests: int
    """Rows that were compared."""
    artefact_digest: str
    """Of the version that answered them."""


def drift_of(
    project: LoadedProject,
    service: str,
    datasets: DatasetStore,
    tracking: Tracking,
    request_logs: RequestLogs,
) -> Measured | str:
    """The drift of the service's newest requests, or why there is none to measure.

    Raises OSError, ObjectMissing or an error of MLflow when something cannot be read.
    """
    model = project.declaration.services[service].model
    dataset = project.declaration.models[model].dataset or ""
    recent = request_logs.recent(f"{project.name}.{service}")
    if recent is None or len(recent.rows) < FEWEST_ROWS:
        rows = 0 if recent is None else len(recent.rows)
        return f"{rows} requests logged, {FEWEST_ROWS} needed for the test"
    version = tracking.version(registered_name(project.name, model), recent.model_version)
    dataset_version = version.tags["orrery.dataset_version"]
    declaration = version.tags.get("orrery.dataset_declaration")
    learned = datasets.read(project.name, dataset, dataset_version, declaration)
    columns = _columns(recent, learned)
    if not columns:
        return f"requests of {service} are no columns of the dataset {dataset}"
    table = read_rows(datasets.sample(learned), [column.name for column in columns])
    asked = {
        column.name: values_of(column.kind, values)
        for column, values in zip(columns, zip(*recent.rows, strict=True), strict=True)
    }
    drift = measure_drift(columns_of(table, columns), asked, columns)
    return Measured(drift, len(recent.rows), version.artefact_digest)


def _columns(recent: RecentRequests, learned: DatasetVersion) -> list[Column]:
    """The column of each value of a request; none where they are no columns of the dataset."""
    # Logs of services that were packaged before columns had names hold the features in order.
    names = recent.columns or learned.features
    known = {column.name: column for column in learned.columns}
    fits = len(names) == len(recent.rows[0]) and all(name in known for name in names)
    return [known[name] for name in names] if fits else []
