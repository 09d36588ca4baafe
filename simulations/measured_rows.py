"""Scores of rows in several scenarios, as the outcomes of a task's metrics.

Shapes: U rows, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from engine.protocol import Refused
from engine.task_metrics import TaskMetric, metrics_of
from simulations.outcomes import Outcomes, Scenario

USUAL = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
    "text-generation": ("perplexity",),
}
"""Metrics that are measured where none is declared, by task."""
USUAL_NAMES = tuple(name for names in USUAL.values() for name in names)
MetricName = Literal[
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "auroc",
    "log_loss",
    "calibration_error",
    "rmse",
    "mae",
    "r2",
    "perplexity",
    "exact_match",
]


def chosen_metrics(declared: Sequence[str], task: str) -> list[TaskMetric]:
    """The declared metrics, else the usual ones of the task. Raises Refused for those of another
    task."""
    known = metrics_of(task)
    if wrong := [name for name in declared if name not in known]:
        raise Refused(
            f"the suite measures {wrong[0]!r}, and the model is for {task}, whose metrics are "
            f"{', '.join(known)}; correct measure"
        )
    return [known[name] for name in declared or USUAL[task]]


def outcomes_of(
    metrics: Sequence[TaskMetric],
    truth: np.ndarray,
    scenarios: list[Scenario],
    seeds: list[int],
    scores: Mapping[tuple[int, int], np.ndarray],
    parts: Mapping[tuple[int, int], np.ndarray],
) -> list[Outcomes]:
    """One Outcomes for each metric.

    `scores` are [U, C] or [U] by positions of scenario and seed; `parts` say which rows belong to
    a scenario, by the same positions, where not all do. Raises Refused for scores that are not
    finite.
    """
    for (s, _), given in scores.items():
        if not np.isfinite(given).all():
            raise Refused(
                f"the model answered {given[~np.isfinite(given)][0]} in the scenario "
                f"{scenarios[s].name!r}, expected finite numbers"
            )
    return [_outcomes(metric, truth, scenarios, seeds, scores, parts) for metric in metrics]


def _outcomes(
    metric: TaskMetric,
    truth: np.ndarray,
    scenarios: list[Scenario],
    seeds: list[int],
    scores: Mapping[tuple[int, int], np.ndarray],
    parts: Mapping[tuple[int, int], np.ndarray],
) -> Outcomes:
    first = metric.components(truth, scores[0, 0])
    components = np.empty((len(scenarios), len(seeds), *first.shape))
    values = np.empty(components.shape[:3])
    for place, given in scores.items():
        components[place] = metric.components(truth, given)
        # What a row contributes by itself; of a metric that is no mean its first component.
        values[place] = components[place][:, 0]
        if (part := parts.get(place)) is not None:
            values[place][~part] = np.nan
    return Outcomes(
        metric.name,
        metric.is_share,
        scenarios,
        seeds,
        values,
        seeds_repeat_units=True,
        statistic=None if metric.is_mean else metric,
        components=None if metric.is_mean else components,
    )
