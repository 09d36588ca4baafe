"""Services: deploy, look, change, undeploy."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from api.context import Call
from api.etags import etag_of, require_match
from api.handlers.jobs import job_view
from api.handlers.orphans import orphan, orphan_view, orphans, reached
from api.jobs.requests import Order, expected, launch, take
from api.jobs.stopping import stop as stop_job
from api.operations import inference as ops
from api.operations.jobs import Job
from api.operations.operation import Page
from api.paging import page_in_order
from api.problems import FieldError, Problem, invalid
from assets.keys import asset_key, op_name
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from projects.schema import Service
from resources.gate import GateRefused, require_evidence
from resources.kubernetes_api.client import ClusterRefused
from resources.revision import revision
from resources.tracking.registry import RegisteredVersion, registered_name
from scheduler import job_lists, jobs

ABSENT: dict[str, Any] = {"state": "absent"}
MOST_UNDER_WAY = 20
"""Newest deployments of a service among which those under way are."""


def deploy(call: Call, request: ops.DeployService) -> Job:
    """Deploy the service, declared first where it is new."""
    project = call.platform.projects.find(call.principal, request.project)
    there = project.declaration.services.get(request.name)
    wanted = _wanted(request, there)
    return _taken(call, deploy_order(call, request), request, project, request.name, there, wanted)


def deploy_order(call: Call, request: ops.DeployService) -> Order:
    """The order to deploy the service."""
    project = call.platform.projects.find(call.principal, request.project)
    wanted = _wanted(request, project.declaration.services.get(request.name))
    if request.name not in project.declaration.services:
        call.platform.projects.changeable(call.principal, request.project)
    order = _order(call, project, request.name, wanted, request.model_version)
    return replace(order, max_seconds=request.max_seconds)


def list_services(call: Call, request: ops.ListServices) -> Page[ops.Service]:
    """Services of every visible project, and those that no declaration names any more."""
    services: list[tuple[str, Callable[[], ops.Service]]] = [
        (_id(call, project, name), partial(_view, call, project, name))
        for project in call.platform.projects.visible(call.principal)
        if request.project in (None, call.platform.projects.shown(project.name))
        for name, service in sorted(project.declaration.services.items())
        if request.model in (None, service.model)
    ]
    if request.model is None:
        services += [
            (id, partial(orphan_view, call, id, status))
            for id, status in orphans(call).items()
            if request.project in (None, id.partition(".")[0])
        ]
    return page_in_order(
        sorted(services, key=lambda pair: pair[0]),
        request,
        lambda pair: pair[0],
        lambda pair: pair[1](),
    )


def get(call: Call, request: ops.ServiceId) -> ops.Service:
    """One service."""
    declared = _declared(call, request.id)
    if declared is None:
        return orphan_view(call, request.id, orphan(call, request.id))
    return _view(call, *declared)


def _declared(call: Call, id: str) -> tuple[LoadedProject, str] | None:
    """Project and name of a declared service, or None where no declaration names it."""
    try:
        project, name, _ = call.platform.projects.service(call.principal, id)
    except Problem as problem:
        if problem.slug == "not-found" and id in orphans(call):
            return None
        raise
    return project, name


def change(call: Call, request: ops.ChangeService) -> Job:
    """Change what is declared where needed, and deploy the service."""
    project, name, there = call.platform.projects.service(call.principal, request.id)
    require_match(request.if_match, _view(call, project, name).etag)
    wanted = _changed(there, request)
    return _taken(call, change_order(call, request), request, project, name, there, wanted)


def change_order(call: Call, request: ops.ChangeService) -> Order:
    """The order to deploy the changed service."""
    project, name, there = call.platform.projects.service(call.principal, request.id)
    wanted = _changed(there, request)
    if wanted != there:
        shown = call.platform.projects.shown(project.name)
        call.platform.projects.changeable(call.principal, shown)
    order = _order(call, project, name, wanted, request.model_version)
    return replace(order, max_seconds=request.max_seconds)


def undeploy(call: Call, request: ops.ServiceId) -> ops.Service:
    """Stop serving, and stop the deployments of the service that are under way."""
    before = get(call, request)
    shown_project, _, name = request.id.partition(".")
    project = call.platform.projects.qualified(call.principal.organization, shown_project)
    call.begin_change()
    shown = {"state": before.state, "answering": [a.version for a in before.answering]}
    # The runtime is called between two transactions: a cluster that hangs must not hold the lock
    # that every change of the platform needs.
    with call.platform.control.write() as connection:
        for job in _deployments_under_way(call, connection, project, name):
            reason = f"{request.id} was undeployed by {call.principal.name}"
            stop_job(call.platform, connection, job, reason)
        call.audited(
            connection, f"service/{request.id}", before=shown, after={"requested": "undeploy"}
        )
    call.platform.work_is_waiting()
    try:
        call.platform.runtime.undeploy(f"{project}.{name}")
    except (ClusterRefused, OSError) as error:
        outcome = {"undeployed": False, "error": f"{type(error).__name__}: {error}"[:500]}
        with call.platform.control.write() as connection:
            call.audited(connection, f"service/{request.id}", after=outcome)
        raise
    with call.platform.control.write() as connection:
        call.audited(connection, f"service/{request.id}", after={"undeployed": True})
    return before.model_copy(update={"answering": [], "message": "is being stopped"})


def _deployments_under_way(
    call: Call, connection: Connection, project: str, name: str
) -> list[jobs.Job]:
    under_way = job_lists.listed(
        connection,
        call.principal.organization,
        kind="deploy",
        projects=[project],
        name=name,
        limit=MOST_UNDER_WAY,
    )
    return [job for job in under_way if not job.has_ended]


def _wanted(request: ops.DeployService, there: Service | None) -> Service:
    given = {
        "model": request.model,
        "rollout": request.rollout,
        "scale": request.scale,
    }
    values = {key: value for key, value in given.items() if value is not None}
    if there is not None:
        return there.model_copy(update=values)
    if request.model is None:
        raise invalid(f"{request.name!r} is not declared yet, so it needs a model", "model")
    return Service(**values)


def _changed(there: Service, request: ops.ChangeService) -> Service:
    given = {"rollout": request.rollout, "scale": request.scale}
    return there.model_copy(update={k: v for k, v in given.items() if v is not None})


def _order(
    call: Call, project: LoadedProject, name: str, service: Service, version: int | None
) -> Order:
    chosen = _version(call, project, service.model, version)
    _require_evidence(call, project, service.model, chosen)
    assets = [
        list(asset_key(project.name, "champion", service.model).path),
        list(asset_key(project.name, "service", name).path),
    ]
    pinned = {"model_version": chosen.version, "artefact_digest": chosen.artefact_digest}
    config = {
        op_name(project.name, "champion", service.model): {"model_version": chosen.version},
        op_name(project.name, "service", name): pinned,
    }
    spec = {
        "project": call.platform.projects.shown(project.name),
        "service": name,
        "model": service.model,
        "model_version": chosen.version,
        "artefact_digest": chosen.artefact_digest,
        "rollout": service.rollout.model_dump(),
        "scale": service.scale.model_dump(),
        "git_revision": revision(),
        "launch": launch(job_name("deploy", project.name), assets, config),
    }
    forecasted = expected(call, "deploy", project, name, {})
    return Order(project.name, "deploy", name, spec, expected=forecasted)


def _version(
    call: Call, project: LoadedProject, model: str, version: int | None
) -> RegisteredVersion:
    found = call.platform.tracking.find(registered_name(project.name, model), version)
    if found is None:
        wanted = f"version {version}" if version else "version"
        raise Problem("conflict", f"model {model!r} has no {wanted} yet", todo="Train it first.")
    return found


def _require_evidence(
    call: Call, project: LoadedProject, model: str, version: RegisteredVersion
) -> None:
    try:
        require_evidence(project, model, version.artefact_digest, call.platform.evidence)
    except GateRefused as refusal:
        raise Problem(
            "conflict",
            str(refusal),
            todo="Run the simulations that are missing, or serve a version that passes.",
            errors=[
                FieldError(field=f"evidence.{each.simulation}", message=str(each))
                for each in refusal.refusals
            ],
        ) from refusal


def _taken(
    call: Call,
    order: Order,
    request: ops.DeployService | ops.ChangeService,
    project: LoadedProject,
    name: str,
    there: Service | None,
    wanted: Service,
) -> Job:
    """The job that deploys the service, once what is new about it is declared."""
    shown = call.platform.projects.shown(project.name)
    part = wanted.model_dump(mode="json", exclude_defaults=True)

    def declare() -> None:
        call.platform.projects.edit(call.principal, shown, ("services", name), part)
        call.platform.declarations_changed()

    # Checked before the job is taken, so that none is taken for a declaration that cannot be made.
    if wanted != there:
        call.platform.projects.check_edit(call.principal, shown, ("services", name), part)
    callback = getattr(request, "callback", None)
    job = take(call, order, callback=callback, declare=declare if wanted != there else None)
    return job_view(call, job, order.expected)


def _id(call: Call, project: LoadedProject, name: str) -> str:
    return f"{call.platform.projects.shown(project.name)}.{name}"


def _view(call: Call, project: LoadedProject, name: str) -> ops.Service:
    platform = call.platform
    declared = project.declaration.services[name]
    status = platform.runtime.status(f"{project.name}.{name}")
    champion = platform.tracking.aliased(registered_name(project.name, declared.model), "champion")
    id = _id(call, project, name)
    content = json.dumps(
        [declared.model_dump(mode="json"), champion.version if champion else None], sort_keys=True
    )
    return ops.Service(
        id=id,
        project=platform.projects.shown(project.name),
        name=name,
        model=declared.model,
        model_version=champion.version if champion else None,
        predict_url=f"{platform.settings.url}/inference/services/{id}/predict",
        rollout=declared.rollout,
        scale=declared.scale,
        declared_in="api" if platform.projects.is_of_api(project) else "file",
        etag=etag_of(content.encode()),
        **(reached(status) if status else ABSENT),
    )
