"""The rule that turns evidence into a verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects.schema import Criterion
from simulations.evidence import MEAN, Evidence, Measurement, judge, suite_digest

RANK = {"fail": 0, "inconclusive": 1, "pass": 2}


def measured(scenario, low, high, *, gated=True, metric="accuracy"):
    return Measurement(
        scenario=scenario,
        metric=metric,
        gated=gated,
        estimate=(low + high) / 2,
        low=low,
        high=high,
        n=200,
        method="Wilson score",
    )


def evidence(*measurements):
    return Evidence(
        project="birds",
        simulation="storms",
        model="singer",
        artefact_digest="a" * 64,
        suite_digest="b" * 64,
        measurements=list(measurements),
    )


@st.composite
def intervals(draw):
    low, high = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return low, high


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ({"at_least": 0.70}, "pass"),
        ({"at_least": 0.80}, "pass"),
        ({"at_least": 0.81}, "inconclusive"),
        ({"at_least": 0.90}, "inconclusive"),
        ({"at_least": 0.91}, "fail"),
        ({"at_most": 0.95}, "pass"),
        ({"at_most": 0.90}, "pass"),
        ({"at_most": 0.89}, "inconclusive"),
        ({"at_most": 0.80}, "inconclusive"),
        ({"at_most": 0.79}, "fail"),
    ],
)
@pytest.mark.parametrize(("of", "scenario"), [("worst", "clean"), ("mean", MEAN)])
def test_verdict_is_where_the_whole_interval_lies(of, scenario, rule, outcome):
    verdict = judge(
        evidence(measured(scenario, 0.80, 0.90)), {"accuracy": Criterion(**rule, of=of)}
    )

    assert verdict.outcome == outcome


@pytest.mark.parametrize(
    ("rule", "outcome", "decisive"),
    [
        ({"at_least": 0.5}, "pass", "noise"),
        ({"at_least": 0.6}, "inconclusive", "noise"),
        ({"at_least": 0.75}, "fail", "noise"),
        ({"at_most": 0.99}, "pass", "clean"),
        ({"at_most": 0.9}, "inconclusive", "clean"),
        ({"at_most": 0.8}, "fail", "clean"),
    ],
)
def test_worst_scenario_decides(rule, outcome, decisive):
    result = evidence(measured("clean", 0.85, 0.95), measured("noise", 0.55, 0.70))

    (finding,) = judge(result, {"accuracy": Criterion(**rule)}).findings

    assert (finding.outcome, finding.measurement.scenario) == (outcome, decisive)


def test_failing_scenario_is_named_even_when_another_has_the_lowest_bound():
    result = evidence(measured("wide", 0.10, 0.95), measured("narrow", 0.60, 0.65))

    (finding,) = judge(result, {"accuracy": Criterion(at_least=0.7)}).findings

    assert (finding.outcome, finding.measurement.scenario) == ("fail", "narrow")


@pytest.mark.parametrize(
    "ungated",
    [measured("harsh", 0.0, 0.1, gated=False), measured("other", 0.0, 0.1, metric="return")],
    ids=["scenario", "metric"],
)
def test_what_is_not_gated_does_not_decide(ungated):
    verdict = judge(
        evidence(measured("clean", 0.8, 0.9), ungated), {"accuracy": Criterion(at_least=0.7)}
    )

    assert verdict.outcome == "pass"


def test_mean_criterion_passes_over_the_worst_scenario():
    result = evidence(
        measured("clean", 0.9, 0.95), measured("noise", 0.1, 0.2), measured(MEAN, 0.5, 0.6)
    )

    verdict = judge(result, {"accuracy": Criterion(at_least=0.5, of="mean")})

    assert verdict.outcome == "pass"


def test_worst_of_several_criteria_is_the_verdict():
    result = evidence(measured("clean", 0.8, 0.9), measured("clean", 0.1, 0.2, metric="return"))

    verdict = judge(
        result, {"accuracy": Criterion(at_least=0.7), "return": Criterion(at_least=0.5)}
    )

    assert verdict.outcome == "fail"
    assert [finding.outcome for finding in verdict.findings] == ["pass", "fail"]


def test_message_names_scenario_numbers_and_what_was_required():
    verdict = judge(
        evidence(measured("noise 0.4", 0.55, 0.70)), {"accuracy": Criterion(at_least=0.85)}
    )

    assert str(verdict) == (
        "storms: fail: noise 0.4: accuracy 0.625 [0.550, 0.700] (n=200, Wilson score); "
        "required accuracy >= 0.85 (every gated scenario)"
    )


@pytest.mark.parametrize("of", ["worst", "mean"])
def test_metric_that_nothing_measured_is_never_a_pass(of):
    with pytest.raises((ValueError, KeyError), match="survival"):
        judge(evidence(measured("clean", 0.8, 0.9)), {"survival": Criterion(at_least=0, of=of)})


@given(st.lists(intervals(), min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_raising_the_threshold_never_improves_the_verdict(intervals, one, other):
    lower, higher = sorted((one, other))
    measurements = evidence(*(measured(f"s{i}", *each) for i, each in enumerate(intervals)))

    verdicts = [
        judge(measurements, {"accuracy": Criterion(at_least=bound)}).outcome
        for bound in (lower, higher)
    ]

    assert RANK[verdicts[1]] <= RANK[verdicts[0]]


@given(st.lists(intervals(), min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_lowering_the_ceiling_never_improves_the_verdict(intervals, one, other):
    lower, higher = sorted((one, other))
    measurements = evidence(*(measured(f"s{i}", *each) for i, each in enumerate(intervals)))

    verdicts = [
        judge(measurements, {"accuracy": Criterion(at_most=bound)}).outcome
        for bound in (lower, higher)
    ]

    assert RANK[verdicts[0]] <= RANK[verdicts[1]]


def test_order_of_keys_does_not_change_a_suite():
    assert suite_digest({"a": 1, "b": [1, 2]}) == suite_digest({"b": [1, 2], "a": 1})


def test_order_of_values_changes_a_suite():
    assert suite_digest({"b": [1, 2]}) != suite_digest({"b": [2, 1]})
