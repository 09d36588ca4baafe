"""Every metric equals that of the library that people know it from."""

from typing import get_args

import numpy as np
import pytest
from sklearn import metrics

from engine.task_metrics import METRICS, metrics_of
from simulations.measured_rows import MetricName


@pytest.fixture(scope="module", params=[2, 5])
def classified(request):
    """Truth and probabilities of rows of two or five classes."""
    generator = np.random.default_rng(request.param)
    truth = generator.integers(0, request.param, 400)
    scores = generator.normal(size=(400, request.param)) + 1.5 * np.eye(request.param)[truth]
    raised = np.exp(scores)
    return truth, raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", lambda t, p: metrics.accuracy_score(t, p.argmax(1))),
        ("balanced_accuracy", lambda t, p: metrics.balanced_accuracy_score(t, p.argmax(1))),
        ("macro_f1", lambda t, p: metrics.f1_score(t, p.argmax(1), average="macro")),
        ("log_loss", metrics.log_loss),
        (
            "auroc",
            lambda t, p: metrics.roc_auc_score(
                t, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr"
            ),
        ),
    ],
)
def test_classification_metrics_are_those_of_scikit_learn(name, expected, classified):
    assert metrics_of("classification")[name].of(*classified) == pytest.approx(
        expected(*classified)
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rmse", metrics.root_mean_squared_error),
        ("mae", metrics.mean_absolute_error),
        ("r2", metrics.r2_score),
    ],
)
def test_regression_metrics_are_those_of_scikit_learn(name, expected):
    generator = np.random.default_rng(0)
    truth = 1e4 + generator.normal(size=300)
    predicted = truth + generator.normal(scale=0.3, size=300)

    assert metrics_of("regression")[name].of(truth, predicted) == pytest.approx(
        expected(truth, predicted), rel=1e-6
    )


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error():
    truth = np.array([0, 0, 0, 1])
    scores = np.tile([0.75, 0.25], (4, 1))

    assert metrics_of("classification")["calibration_error"].of(truth, scores) == pytest.approx(0)


@pytest.mark.parametrize("name", metrics_of("classification"))
def test_weights_count_rows_as_often_as_they_say(name, classified):
    truth, scores = classified
    metric = metrics_of("classification")[name]
    counts = np.random.default_rng(1).integers(0, 3, len(truth))
    repeated = np.repeat(np.arange(len(truth)), counts)

    weighted = metric.value((counts / counts.sum())[None], metric.components(truth, scores))

    assert weighted[0] == pytest.approx(metric.of(truth[repeated], scores[repeated]))


def test_rows_of_a_class_that_the_model_does_not_know_are_wrong_everywhere():
    truth, scores = np.array([-1, 0]), np.array([[0.9, 0.1], [0.9, 0.1]])
    known = metrics_of("classification")

    assert known["accuracy"].of(truth, scores) == 0.5
    assert known["log_loss"].of(truth, scores) > 10


def test_suites_may_declare_every_metric():
    assert get_args(MetricName) == tuple(metric.name for metric in METRICS)
