"""Recommendations from past runs."""

import json
from typing import Any

from api.context import Call
from api.handlers.jobs import estimate_of
from api.jobs.requests import expected
from api.jobs.wanted_models import find_model
from api.operations import recommendation as ops
from projects.search import Search, known_goal
from resources.tracking.adapter import HYPERPARAMETERS_TAG
from resources.tracking.runs import LoggedRun
from scheduler.forecast import FEWEST

OWN_PARAMETERS = ("seed", "job.trainer", "job.workers")
"""Parameters of an mlflow_run that are no hyperparameters."""
METRIC = "test_accuracy"
TRIAL_TAG = "orrery.trial"
COMPARED = 50


def recommend(call: Call, request: ops.Recommend) -> ops.Recommendation:
    """What worked best, if enough was tried."""
    project, name = find_model(call, request.model, request.project)
    declared = project.declaration.models[name]
    metric, is_lower_better = _compared_by(request, declared.search)
    experiments = call.platform.experiments
    ids = [e.id for e in experiments.newest(project=project.name)]
    tags = {"orrery.model": name}
    best = (
        experiments.runs(
            ids,
            limit=COMPARED,
            status="FINISHED",
            tags=tags,
            metric=metric,
            ascending=is_lower_better,
        ).runs
        if ids
        else []
    )
    measured = [run for run in best if metric in run.metrics]
    if len(measured) < FEWEST:
        text = (
            f"not enough history: {len(measured)} finished runs of {name} have the metric "
            f"{metric!r}, expected {FEWEST} or more; train it more often, or name another "
            "metric"
        )
        return ops.Recommendation(enough_history=False, message=text, metric=metric)
    winner = measured[0]
    hyperparameters = _hyperparameters(winner, declared.hyperparameters)
    workers = int(winner.parameters.get("job.workers", declared.resources.workers))
    forecasted = expected(call, "train", project, name, hyperparameters)
    trials = sum(TRIAL_TAG in run.tags for run in measured)
    text = f"the best of {len(measured)} finished runs by {metric}"
    if trials:
        text += f", {trials} of them trials of searches"
    if forecasted is None:
        text += f"; fewer than {FEWEST} jobs ended well, too few to say how long one takes"
    return ops.Recommendation(
        enough_history=True,
        message=text,
        hyperparameters=hyperparameters,
        resources={**declared.resources.model_dump(), "workers": workers},
        metric=metric,
        value=winner.metrics[metric],
        based_on=[run.id for run in measured],
        estimated_time=estimate_of(forecasted),
    )


def _compared_by(request: ops.Recommend, search: Search | None) -> tuple[str, bool]:
    """The metric that decides, and whether a lower value is better."""
    metric = request.metric or (search.metric if search else METRIC)
    if request.lower_is_better is not None:
        return metric, request.lower_is_better
    if search and search.metric == metric:
        return metric, search.aim == "min"
    return metric, known_goal(metric) == "min"


def _hyperparameters(run: LoggedRun, declared: dict[str, Any]) -> dict[str, Any]:
    """The run's hyperparameters as they were given; those of a run that somebody logged by hand,
    each as the kind of value that is declared, or as a number."""
    if exact := run.tags.get(HYPERPARAMETERS_TAG):
        return json.loads(exact)
    values: dict[str, Any] = {}
    for name, text in run.parameters.items():
        if name in OWN_PARAMETERS:
            continue
        kind = type(declared[name]) if name in declared else None
        values[name] = _value(text, kind)
    return values


def _value(text: str, kind: type | None) -> Any:
    if kind is bool or text in ("True", "False"):
        return text == "True"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
