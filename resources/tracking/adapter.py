"""The adapter to MLflow: experiments, their runs, and the registry of model versions.

timeout: MLFLOW_HTTP_REQUEST_TIMEOUT (here 30 s) a call.
retry: MLflow repeats failed HTTP calls (here 3 times, with growing pauses); what still fails is
    raised as TrackingUnavailable, and the step is tried again. What MLflow refuses for good is
    raised as TrackingRefused.
cancel: an mlflow_run that is not ended stays RUNNING until the job's next attempt takes it up.
duplicate: a job has one mlflow_run, found by its tag; an artefact of a job has one version.
partial write: MLflow's own transactions; artefact files are logged before the version points
    at them.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.tracking.connection import without_password
from resources.tracking.registry import Registry

JOB_TAG = "orrery.job"
REACHED_TAG, REACHED_STEP_TAG = "orrery.reached", "orrery.reached_step"
"""Checkpoint that a stopped job leaves, and how many reports it had made by then."""
HYPERPARAMETERS_TAG = "orrery.hyperparameters"
"""Hyperparameters as JSON, which keeps their types; MLflow's own parameters are texts."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Without it the MLflow UI guesses from the first visit, and may show pages for language models."""
BATCH = 500
"""Values of one call; MLflow takes at most 1,000."""


@dataclass(frozen=True)
class TrackedRun:
    """An mlflow_run and its page."""

    run_id: str
    url: str
    experiment_id: str = ""


@dataclass(frozen=True)
class TrackedDataset:
    """The dataset version that a job learns from."""

    name: str
    version: str
    uri: str


class Tracking(Registry):
    """MLflow through its client alone: no global state, loaded at first use."""

    def __init__(self, uri: str, artifacts: str, ui: str) -> None:
        super().__init__(uri, ui)
        self._artifacts = artifacts

    @property
    def told_uri(self) -> str:
        """Address that engines get; empty for one with a password, which they know by
        `ORRERY_MLFLOW_URI`."""
        return self.uri if without_password(self.uri) == self.uri else ""

    def run_for(
        self,
        project: str,
        name: str,
        job: str,
        tags: dict[str, str],
        params: dict[str, Any],
        dataset: TrackedDataset | None,
    ) -> TrackedRun:
        """The job's mlflow_run in the project's experiment: found, or created with the params.

        Raises TrackingUnavailable.
        """
        with self._answers():
            experiment = self._experiment(project)
            runs = self._client.search_runs(
                [experiment], f"tags.`{JOB_TAG}` = '{job}'", max_results=1
            )
            if runs:
                run_id = runs[0].info.run_id
                self._client.set_terminated(run_id, "RUNNING")
            else:
                created = self._client.create_run(
                    experiment, run_name=name, tags={**tags, JOB_TAG: job}
                )
                run_id = created.info.run_id
                self._log_params(run_id, params)
                if dataset is not None:
                    self._log_dataset(run_id, dataset)
        url = f"{self._ui}/#/experiments/{experiment}/runs/{run_id}"
        return TrackedRun(run_id, url, experiment)

    def _log_params(self, run_id: str, params: dict[str, Any]) -> None:
        from mlflow.entities import Param

        # MLflow keeps 6,000 characters of a parameter.
        logged = [Param(key, str(value)[:6000]) for key, value in params.items()]
        self._client.log_batch(run_id, params=logged)

    def _log_dataset(self, run_id: str, dataset: TrackedDataset) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": dataset.uri})
        # MLflow keeps 36 characters of a digest.
        entity = Dataset(dataset.name, dataset.version[:36], "delta_table", source)
        context = InputTag("mlflow.data.context", "training")
        self._client.log_inputs(run_id, datasets=[DatasetInput(entity, [context])])

    def _experiment(self, project: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(project)
        if experiment is None:
            try:
                return self._client.create_experiment(
                    project, f"{self._artifacts}/{project}", EXPERIMENT_TAGS
                )
            except MlflowException:
                # Another process created it between the two calls.
                experiment = self._client.get_experiment_by_name(project)
        # MLflow keeps the name of a deleted experiment, and refuses a new one with it.
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id

    def complete(self, run_id: str, history: Sequence[Mapping[str, float]]) -> int:
        """Number of reported values that MLflow lacked, because it was away, and has now.

        `history` holds metrics by name and their `step`. Raises TrackingUnavailable.
        """
        from mlflow.entities import Metric

        last: dict[str, int] = {}
        for point in history:
            last |= {name: int(point["step"]) for name in point if name != "step"}
        now_ms, missing = int(time.time() * 1000), []
        with self._answers():
            # The public `metrics` has the newest values without their steps.
            known = {m.key: m.step for m in self._client.get_run(run_id).data._metric_objs}
            # A history is one call for each metric, so only those that lack values are read.
            behind = {name for name, step in last.items() if known.get(name, -1) < step}
            for name in sorted(behind):
                sent = {m.step for m in self._client.get_metric_history(run_id, name)}
                missing += [
                    Metric(name, point[name], now_ms, int(point["step"]))
                    for point in history
                    if name in point and point["step"] not in sent
                ]
            for first in range(0, len(missing), BATCH):
                self._client.log_batch(run_id, metrics=missing[first : first + BATCH])
        return len(missing)

    def log_metrics(self, run_id: str, metrics: dict[str, float]) -> None:
        """Log final metrics. Raises TrackingUnavailable."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        with self._answers():
            self._client.log_batch(
                run_id, metrics=[Metric(k, float(v), now_ms, 0) for k, v in metrics.items()]
            )

    def log_curves(self, run_id: str, curves: list[tuple[str, float, int]]) -> None:
        """Log points (metric, value, step) of curves. Raises TrackingUnavailable."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        with self._answers():
            points = [Metric(name, value, now_ms, step) for name, value, step in curves]
            self._client.log_batch(run_id, metrics=points)

    def log_files(self, run_id: str, files: list[Path], folder: str) -> None:
        """Attach files to the mlflow_run. Raises TrackingUnavailable."""
        with self._answers():
            for file in files:
                self._client.log_artifact(run_id, str(file), folder)

    def end(self, run_id: str, *, well: bool) -> None:
        """End the mlflow_run. Raises TrackingUnavailable."""
        with self._answers():
            self._client.set_terminated(run_id, "FINISHED" if well else "FAILED")

    def stop(self, run_id: str, reached: str | None, step: int) -> None:
        """End the mlflow_run as stopped, with the checkpoint it reached.

        Raises TrackingUnavailable.
        """
        with self._answers():
            if reached is not None:
                self._client.set_tag(run_id, REACHED_TAG, reached)
                self._client.set_tag(run_id, REACHED_STEP_TAG, str(step))
            self._client.set_terminated(run_id, "KILLED")

    def choose(self, run_id: str, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Log what a search chose. Raises TrackingUnavailable."""
        with self._answers():
            self._log_params(run_id, params)
            for name, value in tags.items():
                self._client.set_tag(run_id, name, value)

    def close_trials(self, run_id: str, status: str) -> int:
        """How many mlflow_runs of the search's trials were still RUNNING; they have the status now.

        Raises TrackingUnavailable.
        """
        with self._answers():
            experiment = self._client.get_run(run_id).info.experiment_id
            query = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = 'RUNNING'"
            open_runs = self._client.search_runs([experiment], query)
            for run in open_runs:
                self._client.set_terminated(run.info.run_id, status)
        return len(open_runs)

    def close_runs_of(self, projects: Sequence[str], dagster_run: str, reason: str) -> int:
        """How many mlflow_runs of the projects' dagster_run were still RUNNING; they are FAILED
        now.

        Raises TrackingUnavailable.
        """
        with self._answers():
            known = [self._client.get_experiment_by_name(project) for project in projects]
            experiments = [each.experiment_id for each in known if each is not None]
            if not experiments:
                return 0
            query = f"tags.`dagster.run_id` = '{dagster_run}' and attributes.status = 'RUNNING'"
            open_runs = self._client.search_runs(experiments, query)
            for run in open_runs:
                self._client.set_tag(run.info.run_id, "orrery.failure", reason)
                self._client.set_terminated(run.info.run_id, "FAILED")
        return len(open_runs)

    def reached(self) -> list[tuple[str, str, str]]:
        """Checkpoint, project and model of every stopped job that left one.

        Raises TrackingUnavailable.
        """
        found: list[tuple[str, str, str]] = []
        with self._answers():
            experiments = [e.experiment_id for e in self._client.search_experiments()]
            token: str | None = None
            while experiments:
                query = f"tags.`{REACHED_TAG}` != ''"
                page = self._client.search_runs(experiments, query, page_token=token)
                for run in page:
                    tags = run.data.tags
                    owner = tags.get("orrery.project", ""), tags.get("orrery.model", "")
                    found.append((tags[REACHED_TAG], *owner))
                token = page.token
                if not token:
                    break
        return found

    def run_url(self, run_id: str) -> str:
        """Page of the mlflow_run. Raises TrackingUnavailable."""
        with self._answers():
            experiment = self._client.get_run(run_id).info.experiment_id
        return f"{self._ui}/#/experiments/{experiment}/runs/{run_id}"
