"""Checkpoints of a model: those of finished trainings, which Dagster knows, and those of stopped
ones, which MLflow knows."""

from datetime import UTC, datetime
from typing import Any

from api.context import Call
from api.operations import checkpoints as ops
from api.problems import not_found
from assets.keys import asset_key
from engine.artefact import MANIFEST
from projects.loading import LoadedProject
from resources.orchestration.events import Materialised
from resources.tracking.adapter import REACHED_STEP_TAG, REACHED_TAG
from resources.tracking.runs import LoggedRun

LOOKED_THROUGH = 1_000
"""Newest checkpoints of a model among which one is found by its hash."""
PAGE = 100


def find_checkpoint(call: Call, project: LoadedProject, model: str, digest: str) -> ops.Checkpoint:
    """The newest checkpoint of the model whose hash begins so; raises `not-found`."""
    before, seen = None, 0
    while seen < LOOKED_THROUGH:
        page = call.platform.events.materialisations(
            list(key_of_model(project, model)), PAGE, before
        )
        for each in page:
            if digest_of(each).startswith(digest):
                return finished(each)
        if len(page) < PAGE:
            break
        before, seen = page[-1].number, seen + len(page)
    for run in call.platform.experiments.stopped(project.name, model, PAGE, None).runs:
        if _reached(run).startswith(digest):
            return stopped(run)
    raise not_found("checkpoint of the model", f"{model} {digest}")


def is_kept(call: Call, found: ops.Checkpoint) -> bool:
    """Whether the files of the checkpoint are there."""
    return call.platform.objects.has(f"checkpoints/{found.checkpoint}/{MANIFEST}")


def key_of_model(project: LoadedProject, model: str) -> tuple[str, ...]:
    """Key of the asset of the model's checkpoints."""
    return tuple(asset_key(project.name, "checkpoint", model).path)


def digest_of(made: Materialised) -> str:
    """Content hash of the checkpoint."""
    return str(made.metadata.get("uri", "")).rpartition("/")[2]


def finished(made: Materialised) -> ops.Checkpoint:
    """The checkpoint of a training that ended well."""
    said = made.metadata
    return ops.Checkpoint(
        checkpoint=digest_of(made),
        state="finished",
        reached=_whole(said.get("reports")),
        metrics=said.get("metrics") or {},
        workers=_whole(said.get("workers")),
        artefact_digest=str(said["artefact_digest"]) if said.get("artefact_digest") else None,
        uri=str(said.get("uri", "")),
        created_at=datetime.fromtimestamp(made.at, UTC),
        dagster_run_id=made.run_id,
        mlflow_run_id=str(said["mlflow_run_id"]) if said.get("mlflow_run_id") else None,
    )


def stopped(run: LoggedRun) -> ops.Checkpoint:
    """The checkpoint of a training that was stopped."""
    return ops.Checkpoint(
        checkpoint=_reached(run),
        state="stopped",
        reached=_whole(run.tags.get(REACHED_STEP_TAG)),
        metrics={name: value for name, value in run.metrics.items() if "/" not in name},
        workers=_whole(run.parameters.get("job.workers")),
        uri=run.tags[REACHED_TAG],
        created_at=datetime.fromtimestamp(run.ended_at, UTC) if run.ended_at else None,
        dagster_run_id=run.tags.get("dagster.run_id"),
        mlflow_run_id=run.id,
    )


def _reached(run: LoggedRun) -> str:
    return run.tags[REACHED_TAG].rpartition("/")[2]


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
