"""Checkpoints: what trainings have reached, who needs it, and its removal."""

import json

from api.context import Call
from api.jobs.checkpoints import (
    digest_of,
    find_checkpoint,
    finished,
    is_kept,
    key_of_model,
    stopped,
)
from api.operations import checkpoints as ops
from api.operations.operation import Done, Page
from api.paging import cursor_of, key_of, page_of
from api.problems import Problem, invalid
from projects.loading import LoadedProject
from resources.orchestration.history import RunHistory
from resources.tracking.experiments import BadCursor
from resources.tracking.registry import DIGEST_TAG, registered_name
from scheduler import jobs


def list_checkpoints(call: Call, request: ops.ListCheckpoints) -> Page[ops.Checkpoint]:
    """Checkpoints of one model, newest first."""
    project, _ = call.platform.projects.model(call.principal, request.project, request.model)
    if request.state == "stopped":
        return _page_of_stopped(call, project, request)
    made = call.platform.events.materialisations(
        list(key_of_model(project, request.model)), request.limit + 1, key_of(request.cursor, int)
    )
    return page_of(made, request.limit, lambda each: each.number, finished)


def show_checkpoint(call: Call, request: ops.CheckpointName) -> ops.CheckpointDetails:
    """The checkpoint, and who needs it."""
    project, found = _found(call, request)
    needed = _needed_by(call, project, request.model, found)
    return ops.CheckpointDetails(
        **found.model_dump(), is_kept=is_kept(call, found), needed_by=needed
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
    return Page(items=[stopped(run) for run in page.runs], next_cursor=more)


def _needed_by(call: Call, project: LoadedProject, model: str, found: ops.Checkpoint) -> list[str]:
    """Who needs the checkpoint, in sentences."""
    reasons = []
    newest = call.platform.events.newest(list(key_of_model(project, model)))
    if newest and digest_of(newest) == found.checkpoint:
        reasons.append("it is the newest of the model, from which the next version is registered")
    if found.artefact_digest:
        name = registered_name(project.name, model)
        versions = call.platform.tracking.tagged(name, DIGEST_TAG, found.artefact_digest)
        reasons += [f"model version {each.version} came from it" for each in versions]
    # Equal trainings of others have the same bytes, which lie in one place.
    others = RunHistory(call.platform.events).makers_of(found.checkpoint)
    own = key_of_model(project, model)
    reasons += ["a model of another project has it too"] * any(o != own for o in others)
    with call.platform.control.read() as connection:
        going = [job for job in jobs.not_ended(connection) if job.project == project.name]
    names = [job for job in going if found.checkpoint in json.dumps(job.spec)]
    return [*reasons, *(f"job {job.id} goes on from it" for job in names)]
