"""Orders: what a request asks for, with every reference resolved, before anything happens.

A plan and a job are made from the same order, so a preview shows exactly what will run.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from accounts import keys
from api.once import answered_before, remember
from api.platform import Call
from api.problems import Problem
from projects.loading import LoadedProject
from scheduler import budgets, jobs
from scheduler.budgets import Budget, BudgetExceeded
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

    @property
    def digest(self) -> str:
        """Hash of everything the job is asked."""
        asked = json.dumps([self.project, self.kind, self.name, self.spec], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()


def launch(job: str, assets: list[list[str]], config: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How Dagster is asked: the job, its assets, and the config of each op that has some."""
    ops = {op: {"config": given} for op, given in config.items() if given}
    return {"job": job, "assets": assets, "config": {"ops": ops} if ops else {}}


def expected(
    call: Call, kind: Kind, project: LoadedProject, name: str, hyperparameters: dict[str, Any]
) -> Forecast | None:
    """How long the job will take, or None while there is too little history."""
    organization = call.principal.organization
    with call.platform.control.read() as connection:
        past = jobs.succeeded_like(connection, organization, kind, project.name, name)
    observed = [
        Observed(job.id, job.ended_at - job.started_at, job.spec.get("hyperparameters") or {})
        for job in past
        if job.ended_at and job.started_at
    ]
    return forecast(observed, hyperparameters)


def take(
    call: Call,
    order: Order,
    *,
    callback: str | None,
    once: str | None,
    asked: dict[str, Any],
) -> jobs.Job:
    """The job of the order: new, or the one that the same idempotency key was given before.

    Job, audit and key are one transaction. Raises the problems `conflict`, `budget-exceeded`.
    """
    principal = call.principal
    with call.platform.control.write() as connection:
        if once and (known := answered_before(connection, call, once, asked)):
            job = jobs.find(connection, principal.organization, known["job_id"])
            assert job
            return job
        _admit(call, connection, order)
        job = jobs.create(
            connection,
            organization=principal.organization,
            project=order.project,
            kind=order.kind,
            name=order.name,
            spec={**order.spec, "estimate": _kept(order.expected)},
            created_by=principal.user_id,
            key_id=principal.key_id,
            callback=callback,
            gpus=order.gpus,
            expected_s=order.expected.high_s if order.expected else None,
        )
        if once:
            remember(connection, call, once, asked, {"job_id": job.id})
        call.audited(connection, f"job/{job.id}", after={"spec": order.spec})
    call.platform.work_is_waiting()
    return job


def _kept(expected: Forecast | None) -> dict[str, Any] | None:
    if expected is None:
        return None
    told = expected._asdict()
    return {**told, "based_on": told.pop("jobs")}


def _admit(call: Call, connection: Connection, order: Order) -> None:
    if call.principal.key_id is None:
        return
    key = keys.find(connection, call.principal.key_id)
    if key is None or (key.budget_gpu_h is None and key.budget_money is None):
        return
    try:
        budgets.admit(
            connection,
            key.id,
            Budget(key.budget_gpu_h, key.budget_money),
            call.platform.prices,
            order.gpus,
            order.expected.high_s if order.expected else None,
        )
    except BudgetExceeded as error:
        raise Problem("budget-exceeded", str(error)) from error
