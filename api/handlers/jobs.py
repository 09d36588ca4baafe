"""Jobs: submit, look, stop, metrics, recommendations."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from accounts.roles import Permission
from api.context import Call
from api.jobs.requests import take
from api.jobs.stopping import stop as stop_job
from api.jobs.training_requests import order
from api.jobs.training_runs import training_run
from api.jobs.wanted_models import declare, is_undeclared
from api.operations import jobs as ops
from api.operations.curves import MetricPoint, Metrics
from api.operations.operation import Page
from api.paging import key_of, page_of
from api.problems import Problem, not_found
from projects.placement import Resources
from resources.tracking.runs import LoggedRun, finite
from scheduler import job_lists, jobs
from scheduler.budgets import Account, Budget, accounts
from scheduler.forecast import Forecast
from scheduler.states import Kind

NEEDED: dict[Kind, Permission] = {
    "make": Permission("model", "execute"),
    "train": Permission("model", "execute"),
    "simulate": Permission("simulation", "execute"),
    "deploy": Permission("service", "update"),
}
INTERNAL = frozenset({"launch", "estimate", "dagster_runs"})
"""Parts of a job's spec that say how it is run, and not what was asked."""


def submit(call: Call, request: ops.SubmitTraining, had: Resources | None = None) -> ops.Job:
    """Take a training job; `had` are resources that replace the declared ones."""
    ordered = order(call, request, had)
    declaring = (lambda: declare(call, request)) if is_undeclared(request.model) else None
    job = take(call, ordered, callback=request.callback, declare=declaring)
    return job_view(call, job, ordered.expected)


def list_training(call: Call, request: ops.ListJobs) -> Page[ops.Job]:
    """Training jobs."""
    return _listed(call, request, "train")


def list_any(call: Call, request: ops.ListAnyJobs) -> Page[ops.Job]:
    """Jobs of every kind."""
    return _listed(call, request, request.kind)


def get_training(call: Call, request: ops.JobId) -> ops.Job:
    """One training job."""
    return job_view(call, found_job(call, request.id, "train"))


def get_any(call: Call, request: ops.JobId) -> ops.Job:
    """One job."""
    return job_view(call, found_job(call, request.id))


def stop(call: Call, request: ops.JobId) -> ops.Job:
    """Ask a training job to stop, or delete one that has ended."""
    return _ended(call, found_job(call, request.id, "train"))


def stop_any(call: Call, request: ops.JobId) -> ops.Job:
    """Ask a job to stop or delete an ended one, with the right to start one."""
    job = found_job(call, request.id)
    needed = NEEDED[job.kind]
    if not call.principal.may(needed):
        text = f"role {call.principal.role} does not have the right to {needed}"
        raise Problem("forbidden", text)
    return _ended(call, job)


def _ended(call: Call, job: jobs.Job) -> ops.Job:
    return _deleted(call, job) if job.has_ended else _stopped(call, job)


def _deleted(call: Call, job: jobs.Job) -> ops.Job:
    call.begin_change()
    with call.platform.control.write() as connection:
        jobs.delete(connection, job)
        call.audited(connection, f"job/{job.id}", before={"spec": job.spec, "made": job.made})
    shown = job_view(call, job)
    return shown.model_copy(update={"message": f"deleted; {kept_of(job)}"})


def kept_of(job: jobs.Job) -> str:
    """What others need of an ended job, and is kept when it is deleted."""
    kept = [f"{name} {value}" for name, value in job.result.items() if value]
    kept += [f"dagster_run {job.dagster_run_id}"] if job.dagster_run_id else []
    return f"kept: {', '.join(kept)}" if kept else "it had made nothing"


def _stopped(call: Call, job: jobs.Job) -> ops.Job:
    call.begin_change()
    with call.platform.control.write() as connection:
        stopped = stop_job(call.platform, connection, job, f"stopped by {call.principal.name}")
        if stopped.status != job.status:
            call.audited(
                connection,
                f"job/{job.id}",
                before={"status": job.status},
                after={"status": stopped.status},
            )
    call.platform.work_is_waiting()
    return job_view(call, stopped)


def metrics(call: Call, request: ops.JobMetrics) -> Metrics:
    """Curves of the job's mlflow_run."""
    run = training_run(call.platform, found_job(call, request.id))
    if run is None:
        return Metrics(run_id=None, metrics={}, logged={})
    return curves_of(call, run, request.names, request.points)


def found_job(call: Call, job_id: str, kind: Kind | None = None) -> jobs.Job:
    """The job. Raises the problem `not-found`, also for another organization's."""
    with call.platform.control.read() as connection:
        job = jobs.find(connection, call.principal.organization, job_id)
    if job is None or (kind is not None and job.kind != kind):
        raise not_found("job", job_id)
    if not call.principal.may_see(call.platform.projects.shown(job.project)):
        raise not_found("job", job_id)
    return job


def curves_of(call: Call, run: LoggedRun, names: list[str], most: int) -> Metrics:
    """Curves of the mlflow_run, each with at most so many values."""
    curves = call.platform.experiments.curves(run, names, most)
    points = {
        name: [
            MetricPoint(step=v.step, value=finite(v.value), at=moment(v.at)) for v in curve.values
        ]
        for name, curve in curves.items()
    }
    logged = {name: curve.logged for name, curve in curves.items()}
    return Metrics(run_id=run.id, metrics=points, logged=logged)


def job_view(call: Call, job: jobs.Job, forecasted: Forecast | None = None) -> ops.Job:
    """The job as the API shows it."""
    settings = call.platform.settings
    prices = call.platform.prices
    cost = None
    if any(prices) and job.started_at:
        cost = prices.money(job.ran_s or 0.0, job.gpus)
    spec = {key: value for key, value in job.spec.items() if key not in INTERNAL}
    dashboard = settings.dagster_url
    if job.dagster_run_id:
        dashboard = f"{dashboard}/runs/{job.dagster_run_id}"
    return ops.Job(
        job_id=job.id,
        kind=job.kind,
        project=call.platform.projects.shown(job.project),
        name=job.name,
        status=job.status,
        message=job.message,
        estimated_time=estimate_of(forecasted) or _kept_estimate(job),
        monitoring=ops.Monitoring(
            dashboard_url=dashboard,
            metrics_endpoint=f"{settings.url}/train/jobs/{job.id}/metrics",
            logs_endpoint=f"{settings.url}/train/jobs/{job.id}/logs",
        ),
        webhook_url=job.callback,
        spec=spec,
        created_at=moment(job.created_at),
        started_at=moment(job.started_at),
        ended_at=moment(job.ended_at),
        created_by=job.created_by,
        gpus=job.gpus,
        cost=cost,
        progress=progress_view(job.progress),
        worked_s=job.ran_s,
        verdict=job.verdict,  # type: ignore[arg-type]
        made=_result_of(call, job),
        failure=ops.JobFailure(**job.failure) if job.failure else None,
        created_with=_key_name(call, job),
        on_behalf_of=job.on_behalf_of,
    )


def _result_of(call: Call, job: jobs.Job) -> ops.Made | None:
    if not job.result or job.dagster_run_id is None:
        return None
    return ops.Made(**job.result, dagster_run_id=job.dagster_run_id)


def _key_name(call: Call, job: jobs.Job) -> str | None:
    return call.platform.key_name(job.key_id) if job.key_id else None


def estimate_of(forecasted: Forecast | None) -> ops.Estimate | None:
    """The forecast as the API shows it."""
    if forecasted is None:
        return None
    return ops.Estimate(
        low_s=forecasted.low_s,
        high_s=forecasted.high_s,
        confidence=forecasted.confidence,
        based_on=forecasted.jobs,
    )


def budget_views(
    call: Call, connection: Connection, key_id: str | None, budget: Budget
) -> list[ops.BudgetAccount]:
    """How the key's budgets stand."""
    if key_id is None:
        return []
    return shown_accounts(accounts(connection, key_id, budget, call.platform.prices))


def shown_accounts(standing: Mapping[str, Account]) -> list[ops.BudgetAccount]:
    """The accounts as the API shows them."""
    return [
        ops.BudgetAccount(
            unit=unit,  # type: ignore[arg-type]
            limit=account.limit,
            used=round(account.used, 6),
            reserved=round(account.reserved, 6),
            left=round(account.left, 6),
        )
        for unit, account in standing.items()
    ]


def progress_view(reported: dict[str, Any] | None) -> ops.Progress | None:
    """The engine's report as the API shows it."""
    if reported is None:
        return None
    return ops.Progress(**{name: reported[name] for name in ops.Progress.model_fields})


def moment(seconds: float | None) -> Any:
    """The time, or None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _kept_estimate(job: jobs.Job) -> ops.Estimate | None:
    kept = job.spec.get("estimate")
    return ops.Estimate(**kept) if kept else None


def _listed(call: Call, request: ops.ListJobs, kind: Kind | None) -> Page[ops.Job]:
    platform, principal = call.platform, call.principal
    names = None
    if request.project is not None:
        if not principal.may_see(request.project):
            return Page(items=[])
        names = [platform.projects.qualified(principal.organization, request.project)]
    elif principal.projects is not None:
        names = [platform.projects.qualified(principal.organization, p) for p in principal.projects]
    with platform.control.read() as connection:
        rows = job_lists.listed(
            connection,
            principal.organization,
            kind=kind,
            status=request.status,
            projects=names,
            name=request.name,
            after=key_of(request.cursor),
            limit=request.limit + 1,
        )
    return page_of(rows, request.limit, lambda job: job.id, lambda job: job_view(call, job))
