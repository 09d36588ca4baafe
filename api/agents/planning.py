"""Plans: what a changing operation would do now, as the operation itself validates it.

A preview runs the operation up to where it would begin to change something, so that it refuses
what the operation would refuse. Its content is the request with every reference resolved and the
present state of what it touches. Consent to a plan carries out that plan, or is refused because the
state has changed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from api.agents.consequences import UNDO, consequences_of
from api.context import Call, PreviewReached
from api.executor import Handler
from api.handlers.jobs import budget_views, estimate_of
from api.jobs.requests import Order, budget_of
from api.operations.agents import Preview
from api.operations.operation import Input, Operation
from api.operations.table import BY_NAME
from api.problems import Problem

READERS: Mapping[str, str] = {
    "train.stop": "train.get",
    "jobs.stop": "jobs.get",
    "services.change": "services.get",
    "services.undeploy": "services.get",
    "runs.change": "runs.get",
    "runs.delete": "runs.get",
    "simulate.delete": "simulate.get",
    "projects.replace": "projects.get",
    "projects.delete": "projects.get",
    "collections.run": "collections.get",
}
"""Which operation shows the present state of what another changes."""
VOLATILE = frozenset(
    {
        "answering",
        "cost",
        "ended_at",
        "message",
        "progress",
        "replicas",
        "started_at",
        "weight",
        "worked_s",
    }
)
"""What changes by itself, and makes no plan stale."""


def preview(
    call: Call, operation: Operation, request: Input, handlers: Mapping[str, Handler]
) -> tuple[Preview, str]:
    """The plan, and the digest of its content. Raises Problem where the operation would."""
    resolved: dict[str, Any] = request.model_dump(
        mode="json", exclude={"idempotency_key"}, exclude_none=True
    )
    ordered = _validated(call, operation, request, handlers)
    if ordered is not None:
        spec = {k: v for k, v in ordered.spec.items() if k != "launch"}
        resolved = {"request": resolved, "job": spec}
    present = _present(call, operation, request, handlers)
    plan = [operation.name, call.principal.organization, resolved, present]
    text = json.dumps(plan, sort_keys=True, default=str)
    shown = Preview(
        effect=f"{operation.summary.rstrip('.').partition(';')[0]}: {_subject(request)}",
        cost=_cost(call, ordered),
        quota=_quota(call, ordered),
        resolved=resolved,
        consequences=consequences_of(call, operation.name, request),
        undo=UNDO.get(operation.name, ""),
    )
    return shown, hashlib.sha256(text.encode()).hexdigest()


def _validated(
    call: Call, operation: Operation, request: Input, handlers: Mapping[str, Handler]
) -> Order | None:
    """The order of the job that the operation would take, or None where it takes none.

    Raises Problem where the operation refuses.
    """
    try:
        handlers[operation.name](replace(call, is_preview=True), request)
    except PreviewReached as reached:
        return reached.order
    raise AssertionError(f"{operation.name} changed something in a preview")


def _subject(request: Input) -> str:
    named = [
        str(getattr(request, name))
        for name in ("project", "id", "dataset", "model", "name", "simulation", "version")
        if getattr(request, name, None) is not None
    ]
    return " ".join(named) or "your organization"


def _present(
    call: Call, operation: Operation, request: Input, handlers: Mapping[str, Handler]
) -> dict[str, Any] | None:
    reader = READERS.get(operation.name)
    if reader is None:
        return None
    kind = BY_NAME[reader].input
    values = {name: getattr(request, name) for name in kind.model_fields}
    try:
        state = handlers[reader](call, kind.model_construct(**values)).model_dump(mode="json")
    except Problem as problem:
        if problem.slug == "not-found":
            return None  # Only what it left is there.
        raise
    return {key: value for key, value in state.items() if key not in VOLATILE}


def _cost(call: Call, ordered: Order | None) -> dict[str, Any]:
    if ordered is None:
        return {"seconds": [0, 0], "gpu_hours": [0, 0], "money": [0, 0]}
    estimate = estimate_of(ordered.expected)
    if estimate is None:
        gpus = {"gpus": ordered.gpus}
        return {
            "seconds": None,
            "gpu_hours": None,
            "money": None,
            **gpus,
            "why": ("not enough history: fewer than three jobs like this one have ended well"),
        }
    seconds = [estimate.low_s, estimate.high_s]
    prices = call.platform.prices
    return {
        "seconds": seconds,
        "gpu_hours": [round(ordered.gpus * s / 3600, 6) for s in seconds],
        "money": [prices.money(s, ordered.gpus) for s in seconds] if any(prices) else None,
        "confidence": estimate.confidence,
        "based_on": estimate.based_on,
    }


def _quota(call: Call, ordered: Order | None) -> dict[str, Any]:
    """How the key's budgets stand, and what the job may need of them."""
    with call.platform.control.read() as connection:
        budget = budget_of(call, connection)
        standing = budget_views(call, connection, call.principal.key_id, budget)
    if not standing:
        return {"budgets": []}
    upper_s = ordered.upper_s or 0.0 if ordered else 0.0
    gpus = ordered.gpus if ordered else 0
    needed = {
        "gpu_h": round(gpus * upper_s / 3600, 6),
        "money": call.platform.prices.money(upper_s, gpus),
    }
    return {"budgets": [{**view.model_dump(), "needed": needed[view.unit]} for view in standing]}
