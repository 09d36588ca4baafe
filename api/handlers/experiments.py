"""Experiments and their runs, in MLflow."""

from itertools import islice

from api.context import Call
from api.handlers.jobs import moment
from api.handlers.runs import project_names, run_view
from api.operations import experiments as ops
from api.operations.operation import Page
from api.operations.runs import Run
from api.paging import cursor_of, key_of, page_of
from api.problems import Problem, invalid, not_found
from resources.tracking.experiments import (
    BadCursor,
    ExperimentExists,
    TrackedExperiment,
)


def list_experiments(call: Call, request: ops.ListExperiments) -> Page[ops.Experiment]:
    """Experiments of visible projects, newest first."""
    names = project_names(call)
    after = key_of(request.cursor, int)
    before = None if after is None else str(after)
    mlflow_names = [name for name, shown in names.items() if shown == request.project]
    if request.project is not None and not mlflow_names:
        return Page(items=[])
    try:
        rows = call.platform.experiments.newest(before, *mlflow_names)
        found = list(islice((each for each in rows if each.project in names), request.limit + 1))
    except BadCursor as error:
        raise invalid(str(error), "cursor") from error
    return page_of(found, request.limit, lambda e: int(e.id), lambda e: _view(e, names))


def create(call: Call, request: ops.CreateExperiment) -> ops.Experiment:
    """A further experiment of a project."""
    project = call.platform.projects.find(call.principal, request.project)
    try:
        call.platform.experiments.require_new(project.name, request.name)
        call.begin_change()
        experiment = call.platform.experiments.create(project.name, request.name)
    except ExperimentExists as error:
        text = f"project {request.project!r} has an experiment {request.name!r} already"
        raise Problem("conflict", text) from error
    with call.platform.control.write() as connection:
        after = {"project": request.project, "name": request.name}
        call.audited(connection, f"experiment/{experiment.id}", after=after)
    return _view(experiment, project_names(call))


def list_runs(call: Call, request: ops.ListRuns) -> Page[Run]:
    """Runs of an experiment."""
    experiment = _existing(call, request.id)
    try:
        page = call.platform.experiments.runs(
            [experiment.id],
            limit=request.limit,
            cursor=key_of(request.cursor),
            status=request.status,
            metric=request.order_by,
            ascending=request.ascending,
        )
    except BadCursor as error:
        raise invalid(str(error), "cursor") from error
    return Page(
        items=[run_view(run) for run in page.runs],
        next_cursor=cursor_of(page.next) if page.next else None,
    )


def start_run(call: Call, request: ops.CreateRun) -> Run:
    """A run to log to."""
    experiment = _existing(call, request.id)
    experiments = call.platform.experiments
    call.begin_change()
    run_id = experiments.start_run(
        experiment.id, request.name, call.principal.name, request.parameters
    )
    with call.platform.control.write() as connection:
        call.audited(connection, f"run/{run_id}", after={"experiment": experiment.id})
    run = experiments.run(run_id)
    assert run
    return run_view(run)


def _existing(call: Call, experiment_id: str) -> TrackedExperiment:
    experiment = call.platform.experiments.find(experiment_id)
    if experiment is None or experiment.project not in project_names(call):
        raise not_found("experiment", experiment_id)
    return experiment


def _view(experiment: TrackedExperiment, names: dict[str, str]) -> ops.Experiment:
    return ops.Experiment(
        id=experiment.id,
        name=experiment.name.rpartition("--")[2],
        project=names[experiment.project],
        url=experiment.url,
        created_at=moment(experiment.created_at),
    )
