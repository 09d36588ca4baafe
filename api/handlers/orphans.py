"""Orphaned services: they answer, and no declaration names them any more."""

from typing import Any

from api.context import Call
from api.operations import inference as ops
from api.problems import not_found
from projects.schema import Rollout, Scale
from serving.contract import ServiceStatus

ORPHANED = "orphaned: no declaration names it any more; undeploy it, or declare its project again"


def orphans(call: Call) -> dict[str, ServiceStatus]:
    """Orphaned services of the caller's organization, by the name that it knows them by."""
    projects, principal = call.platform.projects, call.principal
    by_id = {}
    for status in call.platform.runtime.statuses():
        qualified, _, name = status.service.partition(".")
        declared = projects.by_name(qualified)
        shown = projects.shown(qualified)
        if declared is not None and name in declared.declaration.services:
            continue
        is_own = projects.organization_of(qualified) == principal.organization
        if is_own and principal.may_see(shown):
            by_id[f"{shown}.{name}"] = status
    return by_id


def orphan(call: Call, id: str) -> ServiceStatus:
    """The orphaned service. Raises the problem `not-found`."""
    known = orphans(call)
    if id not in known:
        raise not_found("service", id)
    return known[id]


def orphan_view(call: Call, id: str, status: ServiceStatus) -> ops.Service:
    """The service as the API shows it; what only a declaration would say is empty."""
    project, _, name = id.partition(".")
    return ops.Service(
        id=id,
        project=project,
        name=name,
        model="",
        predict_url=f"{call.platform.settings.url}/inference/services/{id}/predict",
        rollout=Rollout(),
        scale=Scale(),
        declared_in="nowhere",
        etag="",
        **{**reached(status), "message": ORPHANED},
    )


def reached(status: ServiceStatus) -> dict[str, Any]:
    """What the runtime has reached, as the API shows it."""
    return {
        "state": status.state,
        "answering": [ops.Answering(**each.model_dump()) for each in status.answering],
        "target": status.target,
        "serving": status.serving,
        "weight": status.weight,
        "message": status.message,
        "replicas": [
            ops.Replica(version=r.version, state=r.state, restarts=r.restarts)
            for r in status.replicas
        ],
    }
