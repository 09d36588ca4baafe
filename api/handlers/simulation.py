"""Simulations, and the evidence that they leave."""

import json
import time
from collections.abc import Sequence
from typing import Any

from api.context import Call
from api.etags import etag_of
from api.handlers.jobs import job_view, moment
from api.jobs.requests import Order, expected, launch, take
from api.operations import simulation as ops
from api.operations.jobs import Job
from api.operations.operation import Done, Page
from api.paging import rows_in_order
from api.problems import Problem, not_found
from assets.keys import asset_key, op_name
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from projects.schema import Simulation
from resources.compute.requirements import Requirements
from resources.gate import judgements, may_serve
from resources.revision import revision
from resources.tracking.registry import RegisteredVersion, registered_name
from resources.tracking.tables import Head
from scheduler import job_lists, jobs
from simulations.evidence import judge, suite_digest


def create(call: Call, request: ops.CreateSimulation) -> ops.Simulation:
    """Declare a simulation in a project of the API."""
    projects, principal = call.platform.projects, call.principal
    project = projects.changeable(principal, request.project)
    if request.name in project.declaration.simulations:
        raise Problem("conflict", f"{request.project} has a simulation {request.name!r} already")
    suite = request.suite
    declared = Simulation(
        model=request.model,
        suite=suite if isinstance(suite, str) else suite.model_dump(mode="json"),
        gate=request.gate,
        description=request.description,
    )
    part = declared.model_dump(mode="json", exclude_defaults=True)
    place = ("simulations", request.name)
    changed = projects.edit(principal, request.project, place, part, call.begin_change)
    with call.platform.control.write() as connection:
        call.audited(connection, f"simulation/{request.project}.{request.name}", after=part)
    call.platform.declarations_changed()
    return _view(call, changed, request.name)


def list_simulations(call: Call, request: ops.ListSimulations) -> Page[ops.Simulation]:
    """Simulations of every visible project."""
    suites = [
        (project, name)
        for project in call.platform.projects.visible(call.principal)
        if request.project in (None, call.platform.projects.shown(project.name))
        for name, simulation in project.declaration.simulations.items()
        if request.model in (None, simulation.model)
    ]
    suites.sort(key=lambda pair: _id(call, *pair))
    page = rows_in_order(suites, request, lambda pair: _id(call, *pair))
    return Page(items=_views(call, page.rows), next_cursor=page.next_cursor)


def get(call: Call, request: ops.SimulationId) -> ops.Simulation:
    """One simulation."""
    project, name, _ = call.platform.projects.simulation(call.principal, request.id)
    return _view(call, project, name)


def start(call: Call, request: ops.StartSimulation) -> Job:
    """Take a job that runs the simulation."""
    order = start_order(call, request)
    job = take(call, order, callback=request.callback)
    return job_view(call, job, order.expected)


def start_order(call: Call, request: ops.StartSimulation) -> Order:
    """The order to run the simulation against one model version."""
    project, name, declared = call.platform.projects.simulation(call.principal, request.id)
    if lack := call.platform.compute.lack_of(Requirements.of_simulation(declared)):
        raise Problem("capacity", lack)
    version = _version(call, project, declared.model, request.model_version)
    if version is None:
        wanted = f"version {request.model_version}" if request.model_version else "version"
        text = f"model {declared.model!r} has no {wanted} yet"
        raise Problem("conflict", text, todo="Train it first.")
    op = op_name(project.name, "simulation", name)
    assets = [list(asset_key(project.name, "simulation", name).path)]
    config: dict[str, Any] = {"model_version": version.version}
    if request.max_seconds is not None:
        config["timeout_s"] = request.max_seconds
    spec = {
        "project": call.platform.projects.shown(project.name),
        "simulation": name,
        "model": declared.model,
        "model_version": version.version,
        "artefact_digest": version.artefact_digest,
        "suite": _suite(project, name),
        "gate": {k: c.model_dump(mode="json") for k, c in declared.gate.items()},
        "git_revision": revision(),
        "launch": launch(job_name("simulate", project.name), assets, {op: config}),
    }
    forecasted = expected(call, "simulate", project, name, {})
    return Order(
        project.name,
        "simulate",
        name,
        spec,
        gpus=declared.resources.gpus,
        expected=forecasted,
        max_seconds=request.max_seconds,
    )


def delete(call: Call, request: ops.SimulationId) -> Done:
    """Take the simulation out of its project, unless it is running."""
    projects = call.platform.projects
    project, name, declared = projects.simulation(call.principal, request.id)
    shown = projects.shown(project.name)
    projects.changeable(call.principal, shown)
    newest = _newest_job(call, project, name)
    if newest and not newest.has_ended:
        raise Problem(
            "conflict", f"{request.id} is running in job {newest.id}", todo="Wait for it."
        )
    _require_no_live_gate(call, project, name, declared)
    projects.edit(call.principal, shown, ("simulations", name), None, call.begin_change)
    with call.platform.control.write() as connection:
        call.audited(
            connection, f"simulation/{request.id}", before=declared.model_dump(mode="json")
        )
    call.platform.declarations_changed()
    return Done(message=f"{request.id} is removed; the evidence it left is kept")


def _require_no_live_gate(
    call: Call, project: LoadedProject, name: str, declared: Simulation
) -> None:
    """Return unless a version that serves now has its traffic by the simulation's gate."""
    if not declared.gate:
        return
    for service, wanted in project.declaration.services.items():
        status = call.platform.runtime.status(f"{project.name}.{service}")
        if wanted.model == declared.model and status is not None and status.serving:
            raise Problem(
                "conflict",
                f"{name} is a gate of {project.name}.{service}, which serves "
                f"{status.serving}: without it less evidence would let a version serve",
                todo="Undeploy the service first, or loosen the gate in the declaration.",
            )


def evidence(call: Call, request: ops.ListEvidence) -> ops.AllEvidence:
    """What every simulation of the model says of the version."""
    project, _ = call.platform.projects.model(call.principal, request.project, request.model)
    version = _version(call, project, request.model, request.version)
    if version is None:
        raise not_found("version", f"{request.model} {request.version}")
    rows = [
        _evidence(call, project, name, version.version, version.artefact_digest)
        for name in project.declaration.simulations_of(request.model)
    ]
    judged = judgements(project, request.model, version.artefact_digest, call.platform.evidence)
    return ops.AllEvidence(
        model_version=version.version,
        artefact_digest=version.artefact_digest,
        may_serve=may_serve(judged),
        evidence=rows,
        checked_at=moment(time.time()),
    )


def _version(
    call: Call, project: LoadedProject, model: str, version: int | None
) -> RegisteredVersion | None:
    return call.platform.tracking.find(registered_name(project.name, model), version)


def _suite(project: LoadedProject, name: str) -> dict[str, Any]:
    return project.suites[name].model_dump(mode="json")


def _evidence(
    call: Call, project: LoadedProject, name: str, version: int, artefact_digest: str
) -> ops.Evidence:
    declared = project.declaration.simulations[name]
    digest = suite_digest(_suite(project, name))
    kept = call.platform.evidence.find(artefact_digest, project.name, name, digest)
    simulation = _id(call, project, name)
    about = {
        "simulation": simulation,
        "model_version": version,
        "artefact_digest": artefact_digest,
    }
    if kept is None:
        return ops.Evidence(**about, verdict="missing", findings=[])
    verdict = judge(kept, declared.gate)
    measured = [ops.MeasuredClaim(**m.model_dump()) for m in kept.measurements]
    return ops.Evidence(
        **about,
        verdict=verdict.outcome,
        findings=[str(finding) for finding in verdict.findings],
        measurements=measured,
    )


def _newest_job(call: Call, project: LoadedProject, name: str) -> jobs.Job | None:
    return _newest_jobs(call, [(project, name)])[0]


def _newest_jobs(
    call: Call, simulations: Sequence[tuple[LoadedProject, str]]
) -> list[jobs.Job | None]:
    """The newest job of each simulation."""
    organization = call.principal.organization
    with call.platform.control.read() as connection:
        return [
            job_lists.newest(connection, organization, "simulate", project.name, name)
            for project, name in simulations
        ]


def _id(call: Call, project: LoadedProject, name: str) -> str:
    return f"{call.platform.projects.shown(project.name)}.{name}"


def _view(call: Call, project: LoadedProject, name: str) -> ops.Simulation:
    return _views(call, [(project, name)])[0]


def _views(call: Call, simulations: Sequence[tuple[LoadedProject, str]]) -> list[ops.Simulation]:
    """The simulations with their newest jobs, and the evidence of the newest versions."""
    models = [
        registered_name(project.name, project.declaration.simulations[name].model)
        for project, name in simulations
    ]
    heads = call.platform.tracking.heads(models)
    newest = _newest_jobs(call, simulations)
    return [
        _shown(call, project, name, job, heads.get(model, Head(None, {})))
        for (project, name), job, model in zip(simulations, newest, models, strict=True)
    ]


def _shown(
    call: Call, project: LoadedProject, name: str, newest: jobs.Job | None, model: Head
) -> ops.Simulation:
    declared = project.declaration.simulations[name]
    evidence = None
    if model.newest is not None:
        evidence = _evidence(call, project, name, model.newest, model.artefact_digest)
    content = json.dumps([declared.model_dump(mode="json"), _suite(project, name)], sort_keys=True)
    return ops.Simulation(
        id=_id(call, project, name),
        project=call.platform.projects.shown(project.name),
        name=name,
        model=declared.model,
        kind=project.suites[name].kind,
        suite=_suite(project, name),
        gate=declared.gate,
        state=newest.status if newest else "idle",
        job_id=newest.id if newest else None,
        evidence=evidence,
        declared_in="api" if call.platform.projects.is_of_api(project) else "file",
        etag=etag_of(content.encode()),
    )
