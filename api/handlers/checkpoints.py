"""Checkpoints: what trainings have reached, who needs it, and its removal."""

import json
from typing import Any

from api.context import Call
from api.handlers.jobs import moment
from api.operations import checkpoints as ops
from api.operations.operation import Done, Page
from api.paging import cursor_of, key_of, page_of
from api.problems import Problem, invalid, not_found
from assets.keys import asset_key
from engine.artefact import MANIFEST
from projects.loading import LoadedProject
from resources.orchestration.events import Materialised
from resources.orchestration.history import RunHistory
from resources.tracking.adapter import REACHED_STEP_TAG, REACHED_TAG
from resources.tracking.experiments import BadCursor
from resources.tracking.registry import DIGEST_TAG, registered_name
from resources.tracking.runs import LoggedRun
from scheduler import jobs

LOOKED_THROUGH = 1_000
"""Newest checkpoints of a model among which one is found by its hash."""
PAGE = 100


def list_checkpoints(call: Call, request: ops.ListCheckpoints) -> Page[ops.Checkpoint]:
    """Checkpoints of one model, newest first."""
    project, _ = call.platform.projects.model(call.principal, request.project, request.model)
    if request.state == "stopped":
        return _page_of_stopped(call, project, request)
    made = call.platform.events.materialisations(
        list(_key(project, request.model)), request.limit + 1, key_of(request.cursor, int)
    )
    return page_of(made, request.limit, lambda each: each.number, _finished)


def show_checkpoint(call: Call, request: ops.CheckpointName) -> ops.CheckpointDetails:
    """The checkpoint, and who needs it."""
    project, found = _found(call, request)
    place = f"checkpoints/{found.checkpoint}/{MANIFEST}"
    needed = _needed_by(call, project, request.model, found)
    return ops.CheckpointDetails(
        **found.model_dump(), is_kept=call.platform.objects.has(place), needed_by=needed
    )


def delete_checkpoint(call: Call, request: ops.CheckpointName) -> Done:
    """Delete what nobody needs. Raises the problem `conflict` with who needs it."""
    project, found = _found(call, request)
    if needed := _needed_by(call, project, request.model, found):
        raise Problem(
            "conflict",
            f"the checkpoint {found.checkpoint[:12]} is needed: {'; '.join(needed)}",
            todo="Remove what needs it first, or leave it to the retention of the project.",
        )
    call.begin_change()
    with call.platform.control.write() as connection:
        object = f"checkpoint/{request.project}/{request.model}/{found.checkpoint}"
        call.audited(connection, object, before={"uri": found.uri})
    # After the audit: a removal that breaks off is known, and repeated by the same call.
    call.platform.objects.delete_folder(f"checkpoints/{found.checkpoint}")
    return Done(message=f"the files of the checkpoint {found.checkpoint[:12]} are deleted")


def find_checkpoint(call: Call, project: LoadedProject, model: str, digest: str) -> ops.Checkpoint:
    """The newest checkpoint of the model whose hash begins so; raises `not-found`."""
    before, seen = None, 0
    while seen < LOOKED_THROUGH:
        page = call.platform.events.materialisations(list(_key(project, model)), PAGE, before)
        for each in page:
            if _digest(each).startswith(digest):
                return _finished(each)
        if len(page) < PAGE:
            break
        before, seen = page[-1].number, seen + len(page)
    for run in call.platform.experiments.stopped(project.name, model, PAGE, None).runs:
        if _reached(run).startswith(digest):
            return _stopped(run)
    raise not_found("checkpoint of the model", f"{model} {digest}")


def _found(call: Call, request: ops.CheckpointName) -> tuple[LoadedProject, ops.Checkpoint]:
    project, _ = call.platform.projects.model(call.principal, request.project, request.model)
    return project, find_checkpoint(call, project, request.model, request.checkpoint)


def _page_of_stopped(
    call: Call, project: LoadedProject, request: ops.ListCheckpoints
) -> Page[ops.Checkpoint]:
    try:
        page = call.platform.experiments.stopped(
            project.name, request.model, request.limit, key_of(request.cursor)
        )
    except BadCursor as error:
        raise invalid(str(error), "cursor") from error
    more = cursor_of(page.next) if page.next else None
    return Page(items=[_stopped(run) for run in page.runs], next_cursor=more)


def _needed_by(call: Call, project: LoadedProject, model: str, found: ops.Checkpoint) -> list[str]:
    """Who needs the checkpoint, in sentences."""
    reasons = []
    newest = call.platform.events.newest(list(_key(project, model)))
    if newest and _digest(newest) == found.checkpoint:
        reasons.append("it is the newest of the model, from which the next version is registered")
    if found.artefact_digest:
        name = registered_name(project.name, model)
        versions = call.platform.tracking.tagged(name, DIGEST_TAG, found.artefact_digest)
        reasons += [f"model version {each.version} came from it" for each in versions]
    # Equal trainings of others have the same bytes, which lie in one place.
    others = RunHistory(call.platform.events).makers_of(found.checkpoint)
    own = _key(project, model)
    reasons += ["a model of another project has it too"] * any(o != own for o in others)
    with call.platform.control.read() as connection:
        going = [job for job in jobs.not_ended(connection) if job.project == project.name]
    names = [job for job in going if found.checkpoint in json.dumps(job.spec)]
    return [*reasons, *(f"job {job.id} goes on from it" for job in names)]


def _key(project: LoadedProject, model: str) -> tuple[str, ...]:
    return tuple(asset_key(project.name, "checkpoint", model).path)


def _digest(made: Materialised) -> str:
    return str(made.metadata.get("uri", "")).rpartition("/")[2]


def _finished(made: Materialised) -> ops.Checkpoint:
    said = made.metadata
    return ops.Checkpoint(
        checkpoint=_digest(made),
        state="finished",
        reached=_whole(said.get("reports")),
        metrics=said.get("metrics") or {},
        workers=_whole(said.get("workers")),
        artefact_digest=str(said["artefact_digest"]) if said.get("artefact_digest") else None,
        uri=str(said.get("uri", "")),
        created_at=moment(made.at),
        dagster_run_id=made.run_id,
        mlflow_run_id=str(said["mlflow_run_id"]) if said.get("mlflow_run_id") else None,
    )


def _stopped(run: LoggedRun) -> ops.Checkpoint:
    return ops.Checkpoint(
        checkpoint=_reached(run),
        state="stopped",
        reached=_whole(run.tags.get(REACHED_STEP_TAG)),
        metrics={name: value for name, value in run.metrics.items() if "/" not in name},
        workers=_whole(run.parameters.get("job.workers")),
        uri=run.tags[REACHED_TAG],
        created_at=moment(run.ended_at),
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
