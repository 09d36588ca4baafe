"""Experiments and their runs, in MLflow."""

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


def list_experiments(call: Call, asked: ops.ListExperiments) -> Page[ops.Experiment]:
    """Experiments of visible projects, newest first."""
    names = project_names(call)
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
    return _view(made, project_names(call))


def list_runs(call: Call, asked: ops.ListRuns) -> Page[Run]:
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
        items=[run_view(run) for run in page.runs],
        next_cursor=cursor_of(page.next) if page.next else None,
    )


def start_run(call: Call, asked: ops.CreateRun) -> Run:
    """A run to log to."""
    experiment = _found(call, asked.id)
    experiments = call.platform.experiments
    call.begin_change()
    run_id = experiments.start_run(experiment.id, asked.name, call.principal.name, asked.parameters)
    with call.platform.control.write() as connection:
        call.audited(connection, f"run/{run_id}", after={"experiment": experiment.id})
    made = experiments.run(run_id)
    assert made
    return run_view(made)


def _found(call: Call, experiment_id: str) -> TrackedExperiment:
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
