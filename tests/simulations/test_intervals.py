"""Intervals against SciPy's, and what they are computed over."""

import numpy as np
import pytest
from scipy import stats

from projects.schema import Criterion
from simulations.evidence import MEAN, Evidence, judge
from simulations.intervals import measure, student, wilson
from simulations.outcomes import Outcomes, Scenario


def outcomes(values, *, is_share=True, gated=(True,), seeds_repeat_units=True):
    """Outcomes of [scenarios, seeds, units] values."""
    values = np.asarray(values, float)
    scenarios = [Scenario(f"s{i}", {}, gated[i % len(gated)]) for i in range(values.shape[0])]
    seeds = list(range(values.shape[1]))
    return Outcomes("accuracy", is_share, scenarios, seeds, values, seeds_repeat_units)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (1, 20), (7, 13), (20, 20), (431, 450)])
def test_wilson_is_that_of_scipy(k, n, confidence):
    low, high = wilson(k / n, n, confidence)

    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.9, 0.99])
@pytest.mark.parametrize("n", [2, 5, 200])
def test_student_is_that_of_scipy(n, confidence):
    values = np.random.default_rng(n).normal(3, 2, n)

    interval = student(values, confidence)

    expected = stats.t.interval(confidence, n - 1, values.mean(), stats.sem(values))
    assert interval == pytest.approx(expected, rel=1e-12)


def test_student_of_a_single_value_knows_nothing():
    assert student(np.array([3.0]), 0.95) == (-np.inf, np.inf)


def test_confidence_holds_for_all_gated_scenarios_together():
    values = np.random.default_rng(0).random((3, 1, 80)) < 0.8

    measured = measure(outcomes(values, gated=[True, True, False]), 0.9)

    expected = wilson(values[0, 0].mean(), 80, 0.95)
    assert (measured[0].low, measured[0].high) == expected
    assert measured[0].method == "Wilson score, 90% over 2 gated scenarios (Bonferroni)"


@pytest.mark.parametrize(("repeat", "n"), [(True, 40), (False, 120)])
def test_n_counts_independent_units(repeat, n):
    values = np.random.default_rng(0).random((1, 3, 40)) < 0.8

    measured = measure(outcomes(values, seeds_repeat_units=repeat), 0.95)

    assert [m.n for m in measured] == [n, n]
    assert measured[0].estimate == pytest.approx(values.mean())


def test_mean_is_that_of_the_gated_scenarios():
    values = np.stack([np.ones((1, 50)), np.tile([0.0, 1.0], (1, 25)), np.zeros((1, 50))])

    measured = measure(outcomes(values, gated=[True, True, False]), 0.95)

    assert [m.scenario for m in measured] == ["s0", "s1", "s2", MEAN]
    assert measured[-1].estimate == pytest.approx(0.75)
    assert 0 <= measured[-1].low < 0.75 < measured[-1].high <= 1


def test_returns_get_a_student_interval():
    values = np.random.default_rng(0).normal(300, 50, (1, 2, 30))

    measured = measure(outcomes(values, is_share=False, seeds_repeat_units=False), 0.95)

    assert (measured[0].low, measured[0].high) == student(values.ravel(), 0.95)
    assert measured[0].method.startswith("Student t")


def test_two_perfect_rows_do_not_prove_a_mean():
    measured = measure(outcomes(np.ones((1, 1, 2))), 0.95)
    evidence = Evidence(
        project="p",
        simulation="s",
        model="m",
        artefact_digest="",
        suite_digest="",
        measurements=measured,
    )

    verdict = judge(evidence, {"accuracy": Criterion(at_least=0.99, of="mean")})

    assert verdict.outcome == "inconclusive"
    assert measured[-1].method.startswith("Wilson score over units (all are equal")
