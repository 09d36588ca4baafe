"""Projects and models: what is declared, and what came of it."""

import json
from typing import Any

from api.context import Call
from api.handlers.datasets import chosen
from api.handlers.jobs import moment, submit
from api.handlers.purging import purge, require_idle
from api.operations import catalog as ops
from api.operations.jobs import Job, SubmitTraining
from api.operations.operation import Done, Page
from api.paging import key_of, page_in_order, page_of, rows_in_order
from api.problems import Problem
from assets.keys import op_name
from projects.finished_model import FINISHED
from projects.loading import LoadedProject
from resources.tracking.registry import TEST_METRICS_TAG, RegisteredVersion, registered_name
from resources.tracking.tables import Head


def list_projects(call: Call, request: ops.ListProjects) -> Page[ops.ProjectSummary]:
    """Visible projects by name, and the broken ones that have no last good declaration."""
    projects = call.platform.projects
    summaries = {p.name: _summary(call, p) for p in projects.visible(call.principal)}
    for broken in projects.broken_for(call.principal):
        known = summaries.get(broken.name) or _unknown(projects.shown(broken.name))
        problems = [str(problem) for problem in broken.problems]
        changed = {"state": "broken", "problems": [*known.problems, *problems]}
        summaries[broken.name] = known.model_copy(update=changed)
    return page_in_order(
        sorted(summaries.items()), request, lambda pair: pair[0], lambda pair: pair[1]
    )


def _unknown(name: str) -> ops.ProjectSummary:
    """A project of which nothing but its file is known."""
    return ops.ProjectSummary(
        project=name,
        owner="",
        description="",
        datasets=[],
        models=[],
        simulations=[],
        services=[],
        declared_in="file",
    )


def create_project(call: Call, request: ops.CreateProject) -> ops.Project:
    """A new project."""
    project = call.platform.projects.create(call.principal, request.declaration, call.begin_change)
    return _changed(call, project, None)


def get_project(call: Call, request: ops.ProjectName) -> ops.Project:
    """One project."""
    return _project(call, call.platform.projects.find(call.principal, request.project))


def replace_project(call: Call, request: ops.ReplaceProject) -> ops.Project:
    """A project with a new declaration."""
    projects = call.platform.projects
    before = projects.find(call.principal, request.project)
    project = projects.replace(
        call.principal, request.project, request.declaration, request.if_match, call.begin_change
    )
    return _changed(call, project, before)


def delete_project(call: Call, request: ops.DeleteProject) -> Done:
    """Remove a project on which no job is at work."""
    if request.purge:
        return purge(call, request)
    projects = call.platform.projects
    before = projects.changeable(call.principal, request.project)
    require_idle(call, before.name, request.project)
    call.begin_change()
    projects.delete(call.principal, request.project)
    with call.platform.control.write() as connection:
        call.audited(connection, f"project/{request.project}", before=_declared(call, before))
    call.platform.declarations_changed()
    return Done(message=f"project {request.project} is removed; what it made is kept")


def register(call: Call, request: ops.RegisterModel) -> Job:
    """Take the job that brings a finished model."""
    declared = call.platform.projects.model(call.principal, request.project, request.model)[1]
    if declared.trainer != FINISHED:
        raise Problem(
            "conflict",
            f"{request.project}/{request.model} is trained by {declared.trainer}, expected a model "
            "that is declared with from:",
            todo="Declare a model with `from:` for finished models, or train this one.",
        )
    training = SubmitTraining(
        model=request.model,
        project=request.project,
        hyperparameters={"model": request.address},
        callback=request.callback,
        max_seconds=request.max_seconds,
        idempotency_key=request.idempotency_key,
    )
    return submit(call, training)


def list_models(call: Call, request: ops.ListModels) -> Page[ops.Model]:
    """Models of visible projects."""
    models = [(p, name) for p in chosen(call, request.project) for name in p.declaration.models]
    models.sort(key=lambda pair: f"{pair[0].name}/{pair[1]}")
    page = rows_in_order(models, request, lambda pair: f"{pair[0].name}/{pair[1]}")
    heads = call.platform.tracking.heads([registered_name(p.name, name) for p, name in page.rows])
    return Page(
        items=[_model(call, project, name, heads) for project, name in page.rows],
        next_cursor=page.next_cursor,
    )


def get_model(call: Call, request: ops.ModelName) -> ops.Model:
    """One model."""
    project, _ = call.platform.projects.model(call.principal, request.project, request.model)
    name = registered_name(project.name, request.model)
    return _model(call, project, request.model, call.platform.tracking.heads([name]))


def model_versions(call: Call, request: ops.ListModelVersions) -> Page[ops.ModelVersion]:
    """Versions of one model, newest first."""
    project, _ = call.platform.projects.model(call.principal, request.project, request.model)
    after = key_of(request.cursor, int)
    name = registered_name(project.name, request.model)
    versions = call.platform.tracking.page(name, request.limit + 1, after)
    return page_of(versions, request.limit, lambda v: v.version, _model_version)


def _changed(call: Call, project: LoadedProject, before: LoadedProject | None) -> ops.Project:
    shown = call.platform.projects.shown(project.name)
    with call.platform.control.write() as connection:
        call.audited(
            connection,
            f"project/{shown}",
            before=_declared(call, before) if before else None,
            after=_declared(call, project),
        )
    call.platform.declarations_changed()
    return _project(call, project)


def _where(call: Call, project: LoadedProject) -> str:
    return "api" if call.platform.projects.is_of_api(project) else "file"


def _declared(call: Call, project: LoadedProject) -> dict[str, Any]:
    shown = project.declaration.model_dump(mode="json", exclude_defaults=True)
    return {**shown, "project": call.platform.projects.shown(project.name)}


def _summary(call: Call, project: LoadedProject) -> ops.ProjectSummary:
    d = project.declaration
    return ops.ProjectSummary(
        project=call.platform.projects.shown(project.name),
        owner=d.owner,
        description=d.description,
        datasets=sorted(d.datasets),
        models=sorted(d.models),
        simulations=sorted(d.simulations),
        services=sorted(d.services),
        declared_in=_where(call, project),
    )


def _project(call: Call, project: LoadedProject) -> ops.Project:
    group = op_name(project.name)
    return ops.Project(
        project=call.platform.projects.shown(project.name),
        declaration=_declared(call, project),
        declared_in=_where(call, project),
        lineage_url=f"{call.platform.settings.dagster_url}/locations/__repository__@orrery"
        f"/asset-groups/{group}/lineage",
        etag=call.platform.projects.etag(project),
    )


def _model(call: Call, project: LoadedProject, name: str, heads: dict[str, Head]) -> ops.Model:
    declared = project.declaration.models[name]
    registered = registered_name(project.name, name)
    head = heads.get(registered, Head(None, {}))
    return ops.Model(
        project=call.platform.projects.shown(project.name),
        name=name,
        registered_name=registered,
        trainer=declared.trainer,
        dataset=declared.dataset,
        newest_version=head.newest,
        champion_version=head.aliases.get("champion"),
        url=f"{call.platform.settings.mlflow_url}/#/models/{registered}",
    )


def _model_version(version: RegisteredVersion) -> ops.ModelVersion:
    return ops.ModelVersion(
        version=version.version,
        aliases=sorted(version.aliases),
        artefact_digest=version.artefact_digest,
        dataset_version=version.tags.get("orrery.dataset_version", ""),
        run_id=version.run_id,
        url=version.url,
        created_at=moment(version.created_at),
        test_metrics=json.loads(version.tags.get(TEST_METRICS_TAG, "{}")),
        job_id=version.tags.get("orrery.job_id") or None,
        created_by=version.tags.get("orrery.author") or None,
        git_revision=version.tags.get("git_revision", ""),
        project_revision=version.tags.get("orrery.project_revision", ""),
    )
