"""Orders: what a request asks for, with every reference resolved, before anything happens.

A plan and a job are made from the same order, so a preview shows exactly what will run.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from accounts import keys
from api.context import Call
from api.jobs.callback_addresses import AddressRefused, networks, require_reachable
from api.problems import Problem, invalid
from projects.loading import LoadedProject
from scheduler import budgets, jobs
from scheduler.budgets import Budget, BudgetExceeded, DurationUnknown
from scheduler.forecast import Forecast, Observed, forecast
from scheduler.states import Kind


@dataclass(frozen=True)
class Order:
    """A job to take."""

    project: str
    """Its name in Dagster and MLflow."""
    kind: Kind
    name: str
    spec: dict[str, Any]
    gpus: int = 0
    expected: Forecast | None = None
    max_seconds: float | None = None
    """Time after which the job is stopped."""

    @property
    def upper_s(self) -> float | None:
        """Longest time that is reserved for it; None where nobody knows."""
        if self.max_seconds is not None:
            return self.max_seconds
        return self.expected.high_s if self.expected else None

    @property
    def digest(self) -> str:
        """Hash of everything the job is asked."""
        canonical = json.dumps([self.project, self.kind, self.name, self.spec], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def launch(job: str, assets: list[list[str]], config: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How Dagster is asked: the job, its assets, and the config of each op that has some."""
    ops = {op: {"config": given} for op, given in config.items() if given}
    return {"job": job, "assets": assets, "config": {"ops": ops} if ops else {}}


def expected(
    call: Call,
    kind: Kind,
    project: LoadedProject,
    name: str,
    hyperparameters: dict[str, Any],
    search: dict[str, Any] | None = None,
) -> Forecast | None:
    """How long the job will take, or None while there is too little history; a search takes as long
    as equal ones did."""
    organization = call.principal.organization
    with call.platform.control.read() as connection:
        past = jobs.succeeded_like(connection, organization, kind, project.name, name)
    observed = [
        Observed(job.id, job.ended_at - job.started_at, job.spec.get("hyperparameters") or {})
        for job in past
        if job.ended_at and job.started_at and job.spec.get("search") == search
    ]
    return forecast(observed, hyperparameters)


HELD_S = 30.0
"""How long a job waits at most for what is declared for it."""


def take(
    call: Call,
    order: Order,
    *,
    callback: str | None,
    declare: Callable[[], None] | None = None,
) -> jobs.Job:
    """The job of the order.

    Job, audit and idempotency key are one transaction. What the request declares is declared after
    its job was admitted; the job fails where that fails. Raises the problems `budget-exceeded` and
    `invalid`.
    """
    principal = call.principal
    # Before the transaction, because resolving a name may take seconds.
    if callback is not None:
        _require_reachable(call, callback)
    with call.platform.control.write() as connection:
        _admit(call, connection, order)
        call.begin_change(order)
        job = jobs.create(
            connection,
            organization=principal.organization,
            project=order.project,
            kind=order.kind,
            name=order.name,
            spec={
                **order.spec,
                "max_seconds": order.max_seconds,
                "estimate": _kept(order.expected),
                **({"resubmitted_from": call.repeats} if call.repeats else {}),
            },
            created_by=principal.user_id,
            key_id=principal.key_id,
            callback=callback,
            gpus=order.gpus,
            expected_s=order.upper_s,
            on_behalf_of=call.on_behalf_of,
            held_s=HELD_S if declare else 0.0,
        )
        if call.claim:
            call.claim.complete(connection, {"job_id": job.id})
        call.audited(connection, f"job/{job.id}", after={"spec": order.spec})
    if declare:
        _declare(call, job, declare)
    call.platform.work_is_waiting()
    return job


def _require_reachable(call: Call, callback: str) -> None:
    try:
        require_reachable(callback, networks(call.platform.gateway.private_networks))
    except AddressRefused as error:
        raise invalid(str(error), "callback") from error


def _declare(call: Call, job: jobs.Job, declare: Callable[[], None]) -> None:
    try:
        declare()
    except Exception as error:
        with call.platform.control.write() as connection:
            jobs.proceed(connection, job, "failed", message=f"could not be declared: {error}")
        raise
    with call.platform.control.write() as connection:
        jobs.make_due(connection, job.id)


def _kept(expected: Forecast | None) -> dict[str, Any] | None:
    if expected is None:
        return None
    values = expected._asdict()
    return {**values, "based_on": values.pop("jobs")}


def budget_of(call: Call, connection: Connection) -> Budget:
    """Budget of the key that the caller comes with; endless without one."""
    key = keys.find(connection, call.principal.key_id) if call.principal.key_id else None
    return Budget(key.budget_gpu_h, key.budget_money) if key else Budget(None, None)


def _admit(call: Call, connection: Connection, order: Order) -> None:
    budget, key_id = budget_of(call, connection), call.principal.key_id
    if budget.is_endless or key_id is None:
        return
    try:
        budgets.admit(connection, key_id, budget, call.platform.prices, order.gpus, order.upper_s)
    except BudgetExceeded as error:
        raise Problem("budget-exceeded", str(error)) from error
    except DurationUnknown as error:
        raise invalid(str(error), "max_seconds") from error
