"""Experiments, runs and metrics, in MLflow."""

import time

from api.handlers.jobs import curves_of, moment
from api.operations import experiments as ops
from api.operations.jobs import Metrics
from api.operations.operation import Done, Page
from api.paging import cursor_of, key_of, page_of
from api.platform import Call
from api.problems import Problem, invalid, not_found
from resources.experiments import (
    BadCursor,
    ExperimentExists,
    LoggedRun,
    LoggedValue,
    TrackedExperiment,
    finite,
)


def list_experiments(call: Call, asked: ops.ListExperiments) -> Page[ops.Experiment]:
    """Experiments of visible projects, newest first."""
    names = _names(call)
    after = key_of(asked.cursor, int)
    found = sorted(
        (
            e
            for e in call.platform.experiments.all()
            if e.project in names and asked.project in (None, names[e.project])
        ),
        key=lambda e: -int(e.id),
    )
    rest = [e for e in found if after is None or int(e.id) < after]
    return page_of(
        rest[: asked.limit + 1], asked.limit, lambda e: int(e.id), lambda e: _view(e, names)
    )


def create(call: Call, asked: ops.CreateExperiment) -> ops.Experiment:
    """A further experiment of a project."""
    project = call.platform.projects.find(call.principal, asked.project)
    try:
        call.platform.experiments.require_new(project.name, asked.name)
        call.begin_change()
        made = call.platform.experiments.create(project.name, asked.name)
    except ExperimentExists as error:
        text = f"project {asked.project!r} has an experiment {asked.name!r} already"
        raise Problem("conflict", text) from error
    with call.platform.control.write() as connection:
        after = {"project": asked.project, "name": asked.name}
        call.audited(connection, f"experiment/{made.id}", after=after)
    return _view(made, _names(call))


def list_runs(call: Call, asked: ops.ListRuns) -> Page[ops.Run]:
    """Runs of an experiment."""
    experiment = _found(call, asked.id)
    try:
        page = call.platform.experiments.runs(
            [experiment.id],
            limit=asked.limit,
            cursor=key_of(asked.cursor),
            status=asked.status,
            metric=asked.order_by,
            ascending=asked.ascending,
        )
    except BadCursor as error:
        raise invalid(str(error), "cursor") from error
    return Page(
        items=[_run_view(run) for run in page.runs],
        next_cursor=cursor_of(page.next) if page.next else None,
    )


def start_run(call: Call, asked: ops.CreateRun) -> ops.Run:
    """A run to log to."""
    experiment = _found(call, asked.id)
    door = call.platform.experiments
    call.begin_change()
    run_id = door.start_run(experiment.id, asked.name, call.principal.name, asked.parameters)
    with call.platform.control.write() as connection:
        call.audited(connection, f"run/{run_id}", after={"experiment": experiment.id})
    made = door.run(run_id)
    assert made
    return _run_view(made)


def metrics(call: Call, asked: ops.RunMetrics) -> Metrics:
    """Curves of a run."""
    return curves_of(call, _found_run(call, asked.id), asked.names)


def log(call: Call, asked: ops.LogMetrics) -> Done:
    """Record a batch of metrics."""
    run = _found_run(call, asked.id)
    now = time.time()
    call.begin_change()
    call.platform.experiments.log(
        run.id,
        [
            LoggedValue(p.name, p.value, p.step, p.at.timestamp() if p.at else now)
            for p in asked.metrics
        ],
    )
    return Done(message=f"{len(asked.metrics)} values are recorded in {run.id}")


def _names(call: Call) -> dict[str, str]:
    """Visible projects: their names in MLflow, and within the organization."""
    projects = call.platform.projects
    return {p.name: projects.shown(p.name) for p in projects.visible(call.principal)}


def _found(call: Call, experiment_id: str) -> TrackedExperiment:
    experiment = call.platform.experiments.find(experiment_id)
    if experiment is None or experiment.project not in _names(call):
        raise not_found("experiment", experiment_id)
    return experiment


def _found_run(call: Call, run_id: str) -> LoggedRun:
    run = call.platform.experiments.run(run_id)
    if run is None:
        raise not_found("run", run_id)
    experiment = call.platform.experiments.find(run.experiment_id)
    if experiment is None or experiment.project not in _names(call):
        raise not_found("run", run_id)
    return run


def _view(experiment: TrackedExperiment, names: dict[str, str]) -> ops.Experiment:
    return ops.Experiment(
        id=experiment.id,
        name=experiment.name.rpartition("--")[2],
        project=names[experiment.project],
        url=experiment.url,
        created_at=moment(experiment.created_at),
    )


def _run_view(run: LoggedRun) -> ops.Run:
    return ops.Run(
        id=run.id,
        experiment_id=run.experiment_id,
        name=run.name,
        status=run.status,
        parameters=run.parameters,
        metrics={name: finite(value) for name, value in run.metrics.items()},
        started_at=moment(run.started_at),
        ended_at=moment(run.ended_at),
        url=run.url,
    )
