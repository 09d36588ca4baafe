"""Intervals of metrics that are no means, such as macro F1, by resampling the units.

Shapes: B resamples, S seeds, U units, D components.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from simulations.evidence import MEAN, Measurement
from simulations.outcomes import Outcomes, Scenario

FEWEST, MOST = 1_000, 10_000
"""Resamples."""
IN_TAIL = 10
"""Resamples that lie beyond the end of an interval, at least, where MOST allows it."""
AT_ONCE = 4_000_000
"""Weights held in memory at once."""


def wilson(share: float, n: int, confidence: float) -> tuple[float, float]:
    """Two-sided Wilson score interval of a share (Wilson 1927, JASA 22:209)."""
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def resampled(outcomes: Outcomes, confidence: float, each: float, note: str) -> list[Measurement]:
    """One measurement per scenario, and one of the mean of the gated ones, by the percentile
    bootstrap over units (Efron 1979, doi:10.1214/aos/1176344552).

    A share without any spread over the resamples has the Wilson score interval of the units.
    """
    assert outcomes.components is not None
    units = outcomes.components.shape[2]
    generator = np.random.default_rng(outcomes.seeds)
    count = int(np.clip(2 * IN_TAIL / (1 - each), FEWEST, MOST))
    estimates = {s.name: _values(outcomes, s, np.ones((1, units)))[0] for s in outcomes.scenarios}
    parts: dict[str, list[np.ndarray]] = {s.name: [] for s in outcomes.scenarios}
    for drawn in _drawn(generator, count, units):
        for scenario in outcomes.scenarios:
            parts[scenario.name].append(_values(outcomes, scenario, drawn))
    values = {name: np.concatenate(part) for name, part in parts.items()}
    measured = [
        _measurement(
            outcomes,
            s.name,
            s.gated,
            estimates[s.name],
            values[s.name],
            _units(outcomes, s),
            each,
            f"percentile bootstrap of {count} resamples, {note}",
        )
        for s in outcomes.scenarios
    ]
    gated = [s for s in outcomes.scenarios if s.gated]
    if gated:
        mean = float(np.mean([estimates[s.name] for s in gated]))
        means = np.mean([values[s.name] for s in gated], axis=0)
        method = f"percentile bootstrap of {count} resamples, {confidence:.0%}"
        measured.append(_measurement(outcomes, MEAN, True, mean, means, units, confidence, method))
    return measured


def _drawn(generator: np.random.Generator, count: int, units: int) -> Iterator[np.ndarray]:
    """How often each resample has each unit, float64 [B, U], in parts that fit into memory."""
    at_once = max(1, AT_ONCE // units)
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        places = generator.integers(units, size=(size, units))
        places += units * np.arange(size)[:, None]
        counts = np.bincount(places.ravel(), minlength=size * units)
        yield counts.reshape(size, units).astype(np.float64)


def _values(outcomes: Outcomes, scenario: Scenario, drawn: np.ndarray) -> np.ndarray:
    """The metric in every resample [B], the mean over the seeds."""
    assert outcomes.components is not None and outcomes.statistic is not None
    place = outcomes.scenarios.index(scenario)
    components, parts = outcomes.components[place], ~np.isnan(outcomes.values[place])
    metric = outcomes.statistic
    if metric.of_sums is None:
        seeds = zip(components, parts, strict=True)
        by_seed = [metric.value(drawn[:, part], each[part]) for each, part in seeds]
        return np.mean(by_seed, axis=0)
    counted = np.where(parts[:, :, None], components, 0)
    seeds, units, width = counted.shape
    flat = counted.transpose(1, 0, 2).reshape(units, seeds * width)
    sums = (drawn @ flat).reshape(len(drawn), seeds, width)
    total = drawn @ parts.T.astype(np.float64)
    return metric.of_sums(sums, total).mean(axis=1)


def _units(outcomes: Outcomes, scenario: Scenario) -> int:
    return int((~np.isnan(outcomes.values[outcomes.scenarios.index(scenario)][0])).sum())


def _measurement(
    outcomes: Outcomes,
    scenario: str,
    gated: bool,
    estimate: float,
    values: np.ndarray,
    n: int,
    confidence: float,
    method: str,
) -> Measurement:
    # A resample without a single row of a class has no area under its curve.
    values = values[np.isfinite(values)]
    tail = (1 - confidence) / 2
    low, high = (
        (float(end) for end in np.quantile(values, [tail, 1 - tail]))
        if len(values)
        else (-np.inf, np.inf)
    )
    if outcomes.is_share and low == high:
        low, high = wilson(float(estimate), n, confidence)
        method = f"Wilson score, as all resamples are equal; {method}"
    return Measurement(
        scenario=scenario,
        metric=outcomes.metric,
        gated=gated,
        estimate=float(estimate),
        low=low,
        high=high,
        n=n,
        method=method,
    )
