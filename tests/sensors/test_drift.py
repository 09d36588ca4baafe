"""Drift is told from chance, and named by the feature that differs most."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from engine.artefact import Column
from sensors.service_drift import measure_drift

FEATURES = ["wing", "tail", "beak"]
COLUMNS = [Column(name=name, kind="number") for name in FEATURES]


def drawn(seed, rows=500):
    return np.random.default_rng(seed).normal(size=(rows, 3))


def named(rows):
    return dict(zip(FEATURES, rows.T, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_same_distribution_is_no_drift(seed):
    drift = measure_drift(named(drawn(seed)), named(drawn(seed + 100)), COLUMNS)

    assert not drift.is_drift


@pytest.mark.parametrize("shifted", FEATURES)
def test_shifted_feature_is_drift_and_is_named(shifted):
    requests = drawn(1)
    requests[:, FEATURES.index(shifted)] += 1

    drift = measure_drift(named(drawn(0)), named(requests), COLUMNS)

    assert drift.is_drift
    assert drift.feature == shifted
    assert str(drift).startswith(f"{shifted}: Kolmogorov-Smirnov distance 0.")


def test_spread_feature_is_drift_though_its_mean_stands():
    requests = drawn(1)
    requests[:, 1] *= 3

    drift = measure_drift(named(drawn(0)), named(requests), COLUMNS)

    assert (drift.is_drift, drift.feature) == (True, "tail")


def test_p_value_is_that_of_scipy_corrected_for_the_number_of_features():
    training, requests = drawn(0), drawn(1)
    requests[:, 2] += 0.4

    drift = measure_drift(named(training), named(requests), COLUMNS)

    distance, p_value = ks_2samp(training[:, 2], requests[:, 2])
    assert drift[:3] == ("beak", pytest.approx(distance), pytest.approx(3 * p_value))


def test_certain_but_small_difference_is_no_drift():
    training, requests = drawn(0, rows=20_000), drawn(1, rows=20_000)
    requests[:, 0] += 0.2

    drift = measure_drift(named(training), named(requests), COLUMNS)

    assert drift.p_value < 1e-6
    assert not drift.is_drift


def test_few_requests_are_no_drift():
    drift = measure_drift(named(drawn(0)), named(drawn(1, rows=4) + 0.5), COLUMNS)

    assert not drift.is_drift


def test_feature_that_differs_most_is_named_among_those_that_certainly_differ():
    training, requests = drawn(0, rows=60_000), drawn(1, rows=60_000)
    requests += [0.3, 3.0, 0.0]

    drift = measure_drift(named(training), named(requests), COLUMNS)

    assert (drift.is_drift, drift.feature) == (True, "tail")


def test_lone_value_far_apart_does_not_hide_a_certain_drift():
    training, requests = drawn(0), drawn(1)
    requests[1:, 0], requests[0, 0] = np.nan, 9
    requests[:, 2] += 1

    drift = measure_drift(named(training), named(requests), COLUMNS)

    assert (drift.is_drift, drift.feature) == (True, "beak")


def test_feature_without_any_value_is_no_drift():
    requests = drawn(1)
    requests[:, 1] = np.nan

    drift = measure_drift(named(drawn(0)), named(requests), COLUMNS)

    assert not drift.is_drift


def test_missing_value_in_one_feature_does_not_hide_the_drift_of_another():
    training, requests = drawn(0), drawn(1)
    training[0, 0] = np.nan
    requests[:, 2] += 2

    drift = measure_drift(named(training), named(requests), COLUMNS)

    assert (drift.is_drift, drift.feature) == (True, "beak")


def test_another_mixture_of_categories_is_drift():
    column = Column(name="sex", kind="category", categories=["female", "male"])
    learned = np.array(["female", "male"] * 200, object)
    asked = np.array(["female", "female", "female", None] * 100, object)

    drift = measure_drift({"sex": learned}, {"sex": asked}, [column])

    assert drift.is_drift
    assert str(drift).startswith("sex: total variation distance 0.500")


def test_texts_of_another_length_are_drift():
    column = Column(name="note", kind="text")
    learned = np.array(["short", "longer"] * 100, object)
    asked = np.array(["a whole sentence of words"] * 200, object)

    assert measure_drift({"note": learned}, {"note": asked}, [column]).is_drift
