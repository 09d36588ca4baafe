"""The record of a training in MLflow: its mlflow_run, from the first parameter to the last file."""

import json
import platform
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext

from assets.keys import asset_key
from engine.progress import history_of
from projects.loading import LoadedProject
from resources.datasets.store import DatasetVersion
from resources.revision import project_revision, revision
from resources.settings import Settings
from resources.tracking.adapter import HYPERPARAMETERS_TAG, TrackedDataset, TrackedRun, Tracking
from resources.tracking.connection import TrackingRefused, TrackingUnavailable
from training.contract import TrainingResult, TrainingSpec

# MLflow truncates tags of more than 8,000 characters, and truncated JSON cannot be read.
LONGEST_TAG = 5_000
HYPERPARAMETERS, PATCH = "hyperparameters.json", "project.patch"


def begin(
    context: AssetExecutionContext,
    tracking: Tracking,
    settings: Settings,
    project: LoadedProject,
    spec: TrainingSpec,
    dataset: DatasetVersion | None,
) -> TrackedRun:
    """The job's mlflow_run, found or created. Raises TrackingUnavailable or TrackingRefused."""
    code = project_revision(project.file.parent)
    tags = {
        "dagster.run_id": context.run.run_id,
        "dagster.asset": asset_key(project.name, "checkpoint", spec.model).to_user_string(),
        "mlflow.note.content": f"Trained by [this dagster_run]({settings.dagster_url}/runs/"
        f"{context.run.run_id}).",
        "mlflow.source.name": spec.trainer,
        "mlflow.source.git.commit": revision(),
        "orrery.project_revision": code.name,
        "mlflow.user": project.declaration.owner,
        "orrery.project": project.name,
        "orrery.model": spec.model,
        "orrery.dataset_version": dataset.version if dataset else "",
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        # Read from package metadata, because importing torch and Ray takes seconds.
        **{package: version_of(package) for package in ("torch", "ray", "onnx", "orrery")},
    }
    # MLflow takes a parameter once; what a search chooses is known at its end.
    searched = spec.search.over if spec.search else {}
    parameters = {
        **{name: value for name, value in spec.hyperparameters.items() if name not in searched},
        "seed": spec.seed,
        "job.trainer": spec.trainer,
        "job.workers": spec.workers,
    }
    exact = json.dumps(spec.hyperparameters)
    if len(exact) <= LONGEST_TAG and spec.search is None:
        tags[HYPERPARAMETERS_TAG] = exact
    if spec.search:
        tags["orrery.search"] = spec.search.model_dump_json(exclude_defaults=True)[:LONGEST_TAG]
    learned = TrackedDataset(dataset.name, dataset.version, dataset.uri) if dataset else None
    name = f"{spec.model} {spec.job[:6]}"
    return tracking.run_for(project.name, name, spec.job, tags, parameters, learned)


def record(
    context: AssetExecutionContext,
    tracking: Tracking,
    settings: Settings,
    project: LoadedProject,
    run: TrackedRun,
    spec: TrainingSpec,
    dataset: DatasetVersion | None,
    trained: TrainingResult,
) -> TrackedRun:
    """The mlflow_run with everything the training made: the job's, or a new one where somebody has
    deleted that. A finished training is never repeated because MLflow refuses something.

    Raises TrackingUnavailable.
    """
    chosen = trained.search.values if trained.search else {}
    _write_details(project, spec, {**spec.hyperparameters, **chosen})
    try:
        _send(tracking, run, spec, trained)
    except TrackingRefused as refusal:
        context.log.warning(f"the mlflow_run {run.run_id} takes no record: {refusal}")
        run = begin(context, tracking, settings, project, spec, dataset)
        try:
            _send(tracking, run, spec, trained)
        except TrackingRefused as again:
            context.log.error(f"the training is not recorded in MLflow: {again}")
    return run


def _write_details(
    project: LoadedProject, spec: TrainingSpec, hyperparameters: dict[str, Any]
) -> None:
    """Write what MLflow's parameters cannot hold: every value whole, and the code's patch."""
    exact = json.dumps(hyperparameters, indent=2, sort_keys=True)
    (spec.workdir / HYPERPARAMETERS).write_text(exact, encoding="utf-8")
    if patch := project_revision(project.file.parent).diff:
        (spec.workdir / PATCH).write_text(patch, encoding="utf-8")


def _send(tracking: Tracking, run: TrackedRun, spec: TrainingSpec, trained: TrainingResult) -> None:
    assert trained.packages  # a result without failure has it
    tracking.complete(run.run_id, history_of(spec.workdir))
    held_out = {k: v for k, v in trained.metrics.items() if k.startswith("test_")}
    tracking.log_metrics(run.run_id, held_out)
    files = [*trained.pictures, trained.packages, *_logs(spec.workdir)]
    if trained.search:
        exact = json.dumps({**spec.hyperparameters, **trained.search.values})
        tags = {HYPERPARAMETERS_TAG: exact} if len(exact) <= LONGEST_TAG else {}
        tags["orrery.best_trial"] = str(trained.search.best)
        tracking.choose(run.run_id, trained.search.values, tags)
        tracking.close_trials(run.run_id, "FAILED")
        files.append(trained.search.table)
    tracking.log_files(run.run_id, files, "training")
    tracking.end(run.run_id, well=True)


def record_failure(
    context: AssetExecutionContext,
    tracking: Tracking,
    run: TrackedRun,
    spec: TrainingSpec,
    error: Exception,
) -> None:
    """End the mlflow_run of a failed training with its whole log; the reason of the failure is the
    training's, whatever MLflow says."""
    try:
        tracking.log_files(run.run_id, _logs(spec.workdir), "training")
        if spec.search:
            tracking.close_trials(run.run_id, "FAILED")
        tracking.end(run.run_id, well=False)
    except (TrackingRefused, TrackingUnavailable) as refusal:
        context.log.warning(f"the failure is not recorded: {refusal} (the failure: {error})")


def _logs(workdir: Path) -> list[Path]:
    files = [workdir / name for name in ("engine.log", HYPERPARAMETERS, PATCH)]
    return [file for file in files if file.exists()]
