"""What a change would do beyond what it names, in sentences, and how to undo it."""

from collections.abc import Callable, Mapping
from typing import Any

from api.context import Call
from api.handlers.collection import planned_sentences
from api.handlers.jobs import kept_of
from api.handlers.orphans import ORPHANED, orphans
from api.handlers.purging import KEPT, holdings_of
from projects.loading import LoadedProject
from scheduler import jobs
from scheduler.jobs import Job
from scheduler.states import GOING

Sentences = list[str]
UNDO: Mapping[str, str] = {
    "services.undeploy": "Deploy the service again; its versions and evidence are kept.",
    "checkpoints.delete": "Train it again: the same seed and data give the same bytes.",
    "runs.delete": "Restore it in MLflow, until its garbage collection.",
    "simulate.delete": "Create the simulation again; the evidence it left is kept by its suite.",
    "projects.delete": "Create the project again from its declaration, which the audit keeps.",
    "projects.replace": "Replace it by the declaration before, which the audit keeps.",
    "train.stop": "Submit the training again; the checkpoint it reached is kept.",
    "jobs.stop": "Start it again; what a training reached is kept, and a stopped deployment "
    "gives its traffic back. A deleted job does not come back.",
    "jobs.resubmit": "Stop the new job.",
    "keys.revoke": "It cannot be undone; make a new key.",
    "collections.run": "It cannot be undone.",
    "users.remove": "Invite the user again; keys and sessions do not come back.",
}


def consequences_of(call: Call, operation: str, request: Any) -> Sentences:
    """Sentences about the change; empty where it does what it says and no more."""
    find = _FINDERS.get(operation)
    return find(call, request) if find else []


def _of_undeploying(call: Call, request: Any) -> Sentences:
    if request.id in orphans(call):
        return [ORPHANED]
    project, name, _ = call.platform.projects.service(call.principal, request.id)
    return [_owner(project), *_traffic(call, project, name)]


def _of_simulation(call: Call, request: Any) -> Sentences:
    project, _, declared = call.platform.projects.simulation(call.principal, request.id)
    sentences = [_owner(project)]
    if declared.gate:
        services = [n for n, s in project.declaration.services.items() if s.model == declared.model]
        sentences.append(
            f"its gate ({', '.join(declared.gate)}) no longer guards model {declared.model}, which "
            f"{', '.join(services) or 'no service'} serves"
        )
    return sentences


def _of_deletion(call: Call, request: Any) -> Sentences:
    if not request.purge:
        return _of_project(call, request)
    projects = call.platform.projects
    qualified = projects.qualified(call.principal.organization, request.project)
    return [*holdings_of(call, qualified).sentences(), KEPT, "a purge cannot be undone"]


def _of_project(call: Call, request: Any) -> Sentences:
    project = call.platform.projects.find(call.principal, request.project)
    declared = project.declaration
    sentences = [_owner(project)]
    for name in declared.services:
        sentences += _traffic(call, project, name)
    kept = [f"{len(part)} {family}" for family, part in _families(declared) if part]
    if kept:
        sentences.append(f"what it made is kept: {', '.join(kept)}")
    return sentences


def _of_stop(call: Call, request: Any) -> Sentences:
    with call.platform.control.read() as connection:
        job = jobs.find(connection, call.principal.organization, request.id)
    if job is None or job.status in GOING:
        return [_job(job)] if job else []
    return [f"the job has ended, and is deleted; {kept_of(job)}"]


def _families(declared: Any) -> list[tuple[str, Any]]:
    return [(f, getattr(declared, f)) for f in ("datasets", "models", "simulations", "services")]


def _owner(project: LoadedProject) -> str:
    return f"owner: {project.declaration.owner}"


def _traffic(call: Call, project: LoadedProject, service: str) -> Sentences:
    status = call.platform.runtime.status(f"{project.name}.{service}")
    if status is None or not status.serving:
        return []
    return [f"service {service} serves {status.serving}: its callers get no answer any more"]


def _job(job: Job) -> str:
    progress = job.progress or {}
    reached = f", at {progress.get('unit')} {progress.get('done')}" if progress else ""
    return f"{job.kind} job of {job.name} is {job.status}{reached}"


_FINDERS: Mapping[str, Callable[[Call, Any], Sentences]] = {
    "services.undeploy": _of_undeploying,
    "simulate.delete": _of_simulation,
    "projects.delete": _of_deletion,
    "projects.replace": _of_project,
    "train.stop": _of_stop,
    "jobs.stop": _of_stop,
    "collections.run": lambda call, request: planned_sentences(call, request.id),
}
