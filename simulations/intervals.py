"""Confidence intervals of measured shares and means."""

import numpy as np
from scipy import stats

from simulations.bootstrap import resampled, wilson
from simulations.evidence import MEAN, Measurement
from simulations.outcomes import Outcomes, Scenario

SAME = 1e-9
"""Shares that differ by less are equal but for rounding."""


def student(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Two-sided Student t interval of a mean (Student 1908, Biometrika 6:1)."""
    spread = float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    if spread == 0:
        return float(values.mean()), float(values.mean())
    half = float(stats.t.ppf(0.5 + confidence / 2, max(1, len(values) - 1))) * spread
    return float(values.mean()) - half, float(values.mean()) + half


def measure(outcomes: Outcomes, confidence: float) -> list[Measurement]:
    """One measurement per scenario, and one of the mean of the gated ones.

    The confidence holds for all gated scenarios together (Bonferroni): each interval has
    1 - (1 - confidence) / k. Repeats of a unit over seeds are averaged first, so that n counts
    independent units.
    """
    gated = [s for s in outcomes.scenarios if s.gated]
    each = 1 - (1 - confidence) / max(1, len(gated))
    note = f"{confidence:.0%} over {len(gated)} gated scenarios (Bonferroni)"
    if outcomes.statistic is not None:
        return resampled(outcomes, confidence, each, note)
    measurements = [
        _measurement(outcomes, s.name, s.gated, outcomes.by_unit(s), each, note)
        for s in outcomes.scenarios
    ]
    if gated:
        mean = _mean_by_unit(outcomes, gated)
        low, high, method = _mean_interval(mean, outcomes.is_share, confidence)
        measurements.append(
            Measurement(
                scenario=MEAN,
                metric=outcomes.metric,
                gated=True,
                estimate=float(mean.mean()),
                low=low,
                high=high,
                n=len(mean),
                method=f"{method}, {confidence:.0%}",
            )
        )
    return measurements


def _mean_by_unit(outcomes: Outcomes, gated: list[Scenario]) -> np.ndarray:
    """Mean over the gated scenarios that a unit is part of."""
    # One scenario after the other, so that no copy of all values is made.
    sums, counts = np.zeros(1), np.zeros(1, np.int64)
    for scenario in gated:
        values = outcomes.values[outcomes.scenarios.index(scenario)]
        units = values.mean(axis=0) if outcomes.seeds_repeat_units else values.ravel()
        counted = ~np.isnan(units)
        sums, counts = sums + np.where(counted, units, 0), counts + counted
    return sums[counts > 0] / counts[counts > 0]


def _mean_interval(
    units: np.ndarray, is_share: bool, confidence: float
) -> tuple[float, float, str]:
    """Interval of the mean over units, and its method."""
    if is_share and np.ptp(units) < SAME:
        # Equal units have no spread to learn from, yet n of them do not prove the share.
        low, high = wilson(float(units.mean()), len(units), confidence)
        return low, high, "Wilson score over units (all are equal, so Student t has no spread)"
    low, high = student(units, confidence)
    if is_share:
        low, high = max(0.0, low), min(1.0, high)
    return low, high, "Student t over units"


def _measurement(
    outcomes: Outcomes, scenario: str, gated: bool, units: np.ndarray, confidence: float, note: str
) -> Measurement:
    estimate = float(units.mean())
    if outcomes.is_share:
        low, high = wilson(estimate, len(units), confidence)
    else:
        low, high = student(units, confidence)
    return Measurement(
        scenario=scenario,
        metric=outcomes.metric,
        gated=gated,
        estimate=estimate,
        low=low,
        high=high,
        n=len(units),
        method=f"{'Wilson score' if outcomes.is_share else 'Student t'}, {note}",
    )
