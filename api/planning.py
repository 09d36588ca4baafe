"""Plans: what a changing operation would do now, and the hash that consent is given to.

The hash covers the request with every reference resolved and the present state of what it touches;
so whoever agrees to a plan gets that plan, or is told that it no longer holds.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from accounts import keys
from api.handlers import inference, simulation
from api.handlers.jobs import estimate_of
from api.operations.agents import Preview
from api.operations.operation import Input, Operation
from api.operations.table import BY_NAME
from api.ordering import Order
from api.performing import Handler
from api.platform import Call
from api.training_orders import order as training_order
from scheduler.jobs import used_gpu_h

ORDERS: Mapping[str, Callable[[Call, Any], Order]] = {
    "train.submit": training_order,
    "simulate.start": simulation.start_order,
    "services.deploy": inference.deploy_order,
    "services.change": inference.change_order,
}
"""Operations that take a job."""
READERS: Mapping[str, str] = {
    "train.stop": "train.get",
    "jobs.stop": "jobs.get",
    "services.change": "services.get",
    "services.withdraw": "services.get",
    "simulate.delete": "simulate.get",
    "projects.replace": "projects.get",
    "projects.delete": "projects.get",
}
"""Which operation shows the present state of what another changes."""
VOLATILE = frozenset(
    {"started_at", "ended_at", "cost", "replicas", "weight", "message", "answering"}
)
"""What changes by itself, and makes no plan stale."""


def preview(
    call: Call, operation: Operation, asked: Input, handlers: Mapping[str, Handler]
) -> Preview:
    """The plan. Raises Problem where the operation would."""
    resolved: dict[str, Any] = asked.model_dump(
        mode="json", exclude={"idempotency_key"}, exclude_none=True
    )
    ordered = ORDERS[operation.name](call, asked) if operation.name in ORDERS else None
    if ordered is not None:
        told = {k: v for k, v in ordered.spec.items() if k != "launch"}
        resolved = {"request": resolved, "job": told}
    present = _present(call, operation, asked, handlers)
    plan = [operation.name, call.principal.organization, resolved, present]
    text = json.dumps(plan, sort_keys=True, default=str)
    return Preview(
        effect=f"{operation.summary.rstrip('.').partition(';')[0]}: {_subject(asked)}",
        cost=_cost(call, ordered),
        quota=_quota(call, ordered),
        resolved=resolved,
        plan_hash=hashlib.sha256(text.encode()).hexdigest(),
    )


def _subject(asked: Input) -> str:
    named = [
        str(getattr(asked, name))
        for name in ("project", "id", "model", "name", "environment", "version")
        if getattr(asked, name, None) is not None
    ]
    return " ".join(named) or "your organization"


def _present(
    call: Call, operation: Operation, asked: Input, handlers: Mapping[str, Handler]
) -> dict[str, Any] | None:
    reader = READERS.get(operation.name)
    if reader is None:
        return None
    kind = BY_NAME[reader].input
    values = {name: getattr(asked, name) for name in kind.model_fields}
    state = handlers[reader](call, kind.model_construct(**values)).model_dump(mode="json")
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
    if call.principal.key_id is None:
        return {"budget": None}
    with call.platform.control.read() as connection:
        key = keys.find(connection, call.principal.key_id)
        used = used_gpu_h(connection, call.principal.key_id)
    if key is None or (key.budget_gpu_h is None and key.budget_money is None):
        return {"budget": None}
    high_s = ordered.expected.high_s if ordered and ordered.expected else 0.0
    added = (ordered.gpus if ordered else 0) * high_s / 3600
    return {
        "budget_gpu_h": key.budget_gpu_h,
        "budget_money": key.budget_money,
        "used_gpu_h": round(used, 6),
        "used_gpu_h_after": round(used + added, 6),
    }
