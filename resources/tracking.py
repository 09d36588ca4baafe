"""The door to MLflow: experiments, their runs, and the registry of model versions.

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.artefact import ONNX, Signature
from resources.mlflow_connection import MlflowConnection, without_password

JOB_TAG = "orrery.job"
DIGEST_TAG = "orrery.artefact_digest"
REACHED_TAG, REACHED_STEP_TAG = "orrery.reached", "orrery.reached_step"
"""Checkpoint that a stopped job leaves, and how many reports it had made by then."""
HYPERPARAMETERS_TAG = "orrery.hyperparameters"
"""Hyperparameters as JSON, which keeps their types; MLflow's own parameters are texts."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Without it the MLflow UI guesses from the first visit, and may show pages for language models."""
REQUIREMENTS = ("numpy", "onnx", "onnxruntime")
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


@dataclass(frozen=True)
class RegisteredVersion:
    """A model version of the registry."""

    name: str
    version: int
    run_id: str
    artefact_digest: str
    artefact_key: str
    url: str
    tags: dict[str, str]
    aliases: tuple[str, ...] = ()
    created_at: float = 0.0
    """Seconds since the epoch."""


def registered_name(project: str, model: str) -> str:
    """Name of the model in the registry."""
    return f"{project}.{model}"


class Tracking(MlflowConnection):
    """MLflow through its client alone: no global state, loaded at first use."""

    def __init__(self, uri: str, artifacts: str, ui: str) -> None:
        super().__init__(uri)
        self._artifacts, self._ui = artifacts, ui

    @property
    def told_uri(self) -> str:
        """Address that engines are told; empty for one with a password, which they know by
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
            found = self._client.search_runs(
                [experiment], f"tags.`{JOB_TAG}` = '{job}'", max_results=1
            )
            if found:
                run_id = found[0].info.run_id
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

        found = self._client.get_experiment_by_name(project)
        if found is None:
            try:
                return self._client.create_experiment(
                    project, f"{self._artifacts}/{project}", EXPERIMENT_TAGS
                )
            except MlflowException:
                # Another process created it between the two calls.
                found = self._client.get_experiment_by_name(project)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return found.experiment_id

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
            known = {m.key: m.step for m in self._client.get_run(run_id).data._metric_objs}
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

    def close_runs_of(self, dagster_run: str, reason: str) -> int:
        """How many mlflow_runs of the dagster_run were still RUNNING; they are FAILED now.

        Raises TrackingUnavailable.
        """
        with self._answers():
            experiments = [e.experiment_id for e in self._client.search_experiments()]
            query = f"tags.`dagster.run_id` = '{dagster_run}' and attributes.status = 'RUNNING'"
            open_runs = self._client.search_runs(experiments, query)
            for run in open_runs:
                self._client.set_tag(run.info.run_id, "orrery.failure", reason)
                self._client.set_terminated(run.info.run_id, "FAILED")
        return len(open_runs)

    def register(
        self,
        name: str,
        artefact: Path,
        artefact_digest: str,
        artefact_key: str,
        run_id: str,
        signature: Signature,
        tags: dict[str, str],
        description: str,
    ) -> RegisteredVersion:
        """The model version of this artefact from this mlflow_run: found, or registered.

        Raises TrackingUnavailable.
        """
        for version in self.versions(name):
            if version.run_id == run_id and version.artefact_digest == artefact_digest:
                return version
        with self._answers():
            self._log_model(name, artefact, run_id, signature)
            newest = max(
                self._client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"),
                key=lambda v: int(v.version),
            )
            more = {DIGEST_TAG: artefact_digest, "orrery.artefact_key": artefact_key, **tags}
            for key, value in more.items():
                self._client.set_model_version_tag(name, newest.version, key, value)
            self._client.update_model_version(name, newest.version, description)
        return self.version(name, int(newest.version))

    def _log_model(self, name: str, artefact: Path, run_id: str, signature: Signature) -> None:
        import numpy as np
        import onnx
        from mlflow import onnx as flavor
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        def spec(tensor: Any) -> Schema:
            return Schema([TensorSpec(np.dtype(tensor.dtype), (-1, *tensor.shape), tensor.name)])

        example = np.array(
            json.loads((artefact / "input_example.json").read_bytes()), signature.input.dtype
        )
        experiment = self._client.get_run(run_id).info.experiment_id
        logged = self._client.create_logged_model(experiment, "model", source_run_id=run_id)
        with self._as_default_store():
            Model.log(
                None,
                flavor=flavor,
                model_id=logged.model_id,
                registered_model_name=name,
                await_registration_for=60,
                run_id=run_id,
                onnx_model=onnx.load(artefact / ONNX),
                onnx_execution_providers=["CPUExecutionProvider"],
                signature=ModelSignature(spec(signature.input), spec(signature.output)),
                input_example={signature.input.name: example},
                pip_requirements=list(REQUIREMENTS),
            )

    @contextmanager
    def _as_default_store(self) -> Iterator[None]:
        """Model.log has no argument for the store; it reads the process's default."""
        import mlflow

        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)

    def version(self, name: str, version: int) -> RegisteredVersion:
        """A model version. Raises TrackingUnavailable when there is none."""
        with self._answers():
            return self._registered(self._client.get_model_version(name, str(version)))

    def versions(self, name: str) -> list[RegisteredVersion]:
        """All versions of the model, newest first."""
        with self._answers():
            found = self._client.search_model_versions(f"name = '{name}'")
            aliases = self._aliases(name) if found else {}
        return sorted((self._registered(v, aliases) for v in found), key=lambda v: -v.version)

    def _aliases(self, name: str) -> dict[int, list[str]]:
        """Aliases by version: a search of MLflow gives versions without theirs."""
        found: dict[int, list[str]] = {}
        for alias, version in self._client.get_registered_model(name).aliases.items():
            found.setdefault(int(version), []).append(alias)
        return found

    def aliased(self, name: str, alias: str) -> RegisteredVersion | None:
        """The version the alias points at, or None. Raises TrackingUnavailable."""
        from mlflow.exceptions import MlflowException

        with self._answers():
            try:
                return self._registered(self._client.get_model_version_by_alias(name, alias))
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def point(self, name: str, alias: str, version: int) -> None:
        """Move the alias to the version. Raises TrackingUnavailable."""
        with self._answers():
            self._client.set_registered_model_alias(name, alias, str(version))

    def tag_version(self, name: str, version: int, tags: dict[str, str]) -> None:
        """Set tags of a model version. Raises TrackingUnavailable."""
        with self._answers():
            for key, value in tags.items():
                self._client.set_model_version_tag(name, str(version), key, value)

    def _registered(
        self, found: Any, aliases: Mapping[int, list[str]] | None = None
    ) -> RegisteredVersion:
        named = found.aliases if aliases is None else aliases.get(int(found.version), [])
        return RegisteredVersion(
            name=found.name,
            version=int(found.version),
            run_id=found.run_id,
            artefact_digest=found.tags.get(DIGEST_TAG, ""),
            artefact_key=found.tags.get("orrery.artefact_key", ""),
            url=f"{self._ui}/#/models/{found.name}/versions/{found.version}",
            tags=dict(found.tags),
            aliases=tuple(sorted(named)),
            created_at=found.creation_timestamp / 1000,
        )

    def run_url(self, run_id: str) -> str:
        """Page of the mlflow_run. Raises TrackingUnavailable."""
        with self._answers():
            experiment = self._client.get_run(run_id).info.experiment_id
        return f"{self._ui}/#/experiments/{experiment}/runs/{run_id}"
