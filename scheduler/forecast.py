"""How long a job will take: an interval from what jobs like it took, or nothing.

The interval from the shortest to the longest of n past durations holds the next one with
probability (n - 1) / (n + 1), whatever their distribution (Wilks, 1941); so the number of jobs
that it rests on says how far to trust it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# With two, the interval holds the next duration with a probability of 1/3 only.
FEWEST = 3
UNITS = ("epochs", "iterations", "steps")


class Forecast(NamedTuple):
    """An interval of seconds and what it rests on."""

    low_s: float
    high_s: float
    confidence: float
    """Probability that the interval holds the true duration."""
    jobs: list[str]


class Observed(NamedTuple):
    """How long a job took, and with which hyperparameters."""

    job: str
    seconds: float
    hyperparameters: Mapping[str, Any]


def forecast(past: Sequence[Observed], hyperparameters: Mapping[str, Any]) -> Forecast | None:
    """The forecast for a job with these hyperparameters; None without `FEWEST` past jobs.

    A job takes some time to start and some for each unit of work (epochs, iterations, steps), in
    shares that are not known: with other units than a past job it lies between that job's
    duration and the duration in proportion to its units, and the interval reaches to both.
    """
    if len(past) < FEWEST:
        return None
    ratios = [_ratio(hyperparameters, p.hyperparameters) for p in past]
    n = len(past)
    return Forecast(
        round(min(p.seconds * min(1.0, r) for p, r in zip(past, ratios, strict=True)), 1),
        round(max(p.seconds * max(1.0, r) for p, r in zip(past, ratios, strict=True)), 1),
        round((n - 1) / (n + 1), 3),
        [p.job for p in past],
    )


def _ratio(spec: Mapping[str, Any], past: Mapping[str, Any]) -> float:
    for unit in UNITS:
        new, old = spec.get(unit), past.get(unit)
        if isinstance(new, (int, float)) and isinstance(old, (int, float)) and new > 0 and old > 0:
            return new / old
    return 1.0
