"""The adapter to MLflow's runs as people and programs use them: look, log, change.

timeout, retry: the client's, as set where it connects.
cancel: a run that nobody ends stays RUNNING.
duplicate: a run created twice is two runs; a metric logged twice at one step has two values.
partial write: a batch of metrics is one transaction of MLflow.
"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resources.tracking.connection import MlflowConnection
from resources.tracking.tables import Curve, MlflowTables
from resources.tracking.thinning import thinned


class LoggedRun(NamedTuple):
    """An mlflow_run and its newest values."""

    id: str
    experiment_id: str
    name: str
    status: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    started_at: float | None
    ended_at: float | None
    url: str


class LoggedValue(NamedTuple):
    """One value of a metric."""

    name: str
    value: float
    step: int
    at: float


class LoggedCurve(NamedTuple):
    """Values of one metric, in the order of their steps."""

    values: list[LoggedValue]
    logged: int
    """How many there are; fewer may be given."""


class KeptFile(NamedTuple):
    """A file of a run."""

    path: str
    bytes: int | None


class FileTooLarge(Exception):
    """A file of a run is larger than what was asked for at most."""


class Runs(MlflowConnection):
    """MLflow's runs and metrics."""

    def __init__(self, uri: str, artifacts: str, ui: str) -> None:
        super().__init__(uri)
        self._artifacts, self._ui = artifacts, ui
        self._tables = MlflowTables(uri) if MlflowTables.are_at(uri) else None

    def run(self, run_id: str) -> LoggedRun | None:
        """The run, or None. Raises TrackingUnavailable."""
        from mlflow.exceptions import MlflowException

        with self._answers():
            try:
                run = self._client.get_run(run_id)
                return self._run(run) if run.info.lifecycle_stage == "active" else None
            except MlflowException as error:
                # MLflow answers the second to an id that is not of its form.
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def start_run(self, experiment: str, name: str, user: str, parameters: dict[str, str]) -> str:
        """Id of a new run. Raises TrackingUnavailable."""
        from mlflow.entities import Param

        with self._answers():
            tags = {"mlflow.user": user}
            run_id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
            if parameters:
                logged = [Param(key, value) for key, value in parameters.items()]
                self._client.log_batch(run_id, params=logged)
        return run_id

    def log(self, run_id: str, values: Sequence[LoggedValue]) -> None:
        """Record the values. Raises TrackingUnavailable."""
        from mlflow.entities import Metric

        with self._answers():
            metrics = [Metric(v.name, v.value, int(v.at * 1000), v.step) for v in values]
            self._client.log_batch(run_id, metrics=metrics)

    def change(
        self, run_id: str, *, status: str | None, name: str | None, tags: dict[str, str | None]
    ) -> None:
        """Set and remove tags, rename the run, and end it, in this order.

        Raises TrackingUnavailable.
        """
        known = self.run(run_id)
        with self._answers():
            for key, value in tags.items():
                if value is not None:
                    self._client.set_tag(run_id, key, value)
                elif known and key in known.tags:
                    self._client.delete_tag(run_id, key)
            if name is not None:
                self._client.update_run(run_id, name=name)
            if status is not None:
                self._client.set_terminated(run_id, status)

    def delete_run(self, run_id: str) -> None:
        """Mark the run as deleted. Raises TrackingUnavailable."""
        with self._answers():
            self._client.delete_run(run_id)

    def files(self, run_id: str) -> list[KeptFile]:
        """Every file of the run, by path. Raises TrackingUnavailable."""
        files, folders = [], [""]
        with self._answers():
            while folders:
                for entry in self._client.list_artifacts(run_id, folders.pop() or None):
                    if entry.is_dir:
                        folders.append(entry.path)
                    else:
                        files.append(KeptFile(entry.path, entry.file_size))
        return sorted(files)

    def file(self, run_id: str, path: str, largest: int) -> bytes | None:
        """Content of the file, or None where the run keeps none of the path.

        Raises FileTooLarge for one of more bytes than the largest, or TrackingUnavailable.
        """
        folder = path.rpartition("/")[0]
        with tempfile.TemporaryDirectory() as scratch, self._answers():
            for entry in self._client.list_artifacts(run_id, folder or None):
                if entry.path != path or entry.is_dir:
                    continue
                if (entry.file_size or 0) > largest:
                    text = f"{path} has {entry.file_size} bytes, expected at most {largest}"
                    raise FileTooLarge(text)
                return Path(self._client.download_artifacts(run_id, path, scratch)).read_bytes()
        return None

    def add_file(self, run_id: str, path: str, content: bytes) -> None:
        """Keep the bytes under the path; an earlier file of the path is replaced.

        Raises TrackingUnavailable.
        """
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as scratch, self._answers():
            # MLflow keeps a file under the name that it has here.
            file = Path(scratch, name)
            file.write_bytes(content)
            self._client.log_artifact(run_id, str(file), folder or None)

    def curves(self, run: LoggedRun, names: Sequence[str], most: int) -> dict[str, LoggedCurve]:
        """The run's metrics, each with at most so many of its values (`thinned`).

        Raises TrackingUnavailable.
        """
        wanted = [name for name in run.metrics if not names or name in names]
        return {name: self._curve(run.id, name, most) for name in wanted}

    def _curve(self, run_id: str, name: str, most: int) -> LoggedCurve:
        curve = self._whole_curve(run_id, name)
        shown = thinned(curve.values, most)
        parts = (curve.values[shown], curve.steps[shown], curve.at_ms[shown])
        values = [
            LoggedValue(name, value, step, at_ms / 1000)
            for value, step, at_ms in zip(*(part.tolist() for part in parts), strict=True)
        ]
        return LoggedCurve(values, len(curve.values))

    def _whole_curve(self, run_id: str, name: str) -> Curve:
        if self._tables is not None:
            return self._tables.curve(run_id, name)
        with self._answers():
            history = self._client.get_metric_history(run_id, name)
        history.sort(key=lambda metric: (metric.step, metric.timestamp))
        return Curve(
            np.array([metric.step for metric in history], np.int64),
            np.array([metric.timestamp for metric in history], np.int64),
            np.array([metric.value for metric in history], np.float64),
        )

    def _run(self, run: Any) -> LoggedRun:
        info, data = run.info, run.data
        return LoggedRun(
            id=info.run_id,
            experiment_id=info.experiment_id,
            name=info.run_name or "",
            status=info.status,
            parameters=dict(data.params),
            metrics=dict(data.metrics),
            tags=dict(data.tags),
            started_at=info.start_time / 1000 if info.start_time else None,
            ended_at=info.end_time / 1000 if info.end_time else None,
            url=f"{self._ui}/#/experiments/{info.experiment_id}/runs/{info.run_id}",
        )


def finite(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if math.isfinite(value) else None
