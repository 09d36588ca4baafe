"""What is predicted from a label, and why: decided before training, and visible."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from resources.datasets.columns import UnusableColumns
from resources.datasets.tasks import classes_of, decide


def labels(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (["a", "b", "a"], "classification", "2 different text values"),
        ([f"SKU-{i}" for i in range(1_200)] * 4, "classification", "1200 different text values"),
        ([True, False], "classification", "2 different boolean values"),
        ([0, 1, 2] * 10, "classification", "3 different whole numbers in 30 rows"),
        ([0.0, 1.0] * 30, "classification", "2 different whole numbers in 60 rows"),
        ([0.0, 1.0, None, float("nan")] * 30, "classification", "2 different whole numbers"),
        ([10, 700, -3] * 40, "classification", "3 different whole numbers"),
        (
            list(range(100)) * 10,
            "classification",
            "100 different integers in 1000 rows, 10 or more",
        ),
        (list(range(400)), "regression", "400 different whole numbers in only 400 rows"),
        ([float(i) for i in range(30)] * 10, "regression", "30 different whole numbers"),
        ([0.5, 1.0, 2.0] * 30, "regression", "3 different values with decimals"),
        ([1, 2, 3], "regression", "3 different whole numbers in only 3 rows"),
    ],
)
def test_task_is_inferred_with_its_reason(values, task, reason):
    result = decide("y", labels(values), None)

    assert result.task == task
    assert reason in result.reason


def test_diabetes_of_scikit_learn_is_a_regression(rows_of):
    table = rows_of("sklearn:diabetes").table

    assert decide("target", table.column("target"), None).task == "regression"


@pytest.mark.parametrize(
    ("values", "task"),
    [([0, 1] * 30, "regression"), ([0.5, 1.5] * 3, "classification"), ([True], "regression")],
)
def test_declared_task_is_taken(values, task):
    assert decide("y", labels(values), task) == (task, "declared")


@pytest.mark.parametrize(
    ("values", "declared", "message"),
    [
        (["1", "two"], "regression", "the label 'y' is text such as '1', which no regression"),
        ([dt.date(2024, 1, 1)], None, r"the label 'y' is of type date32\[day\], expected numbers"),
        (
            [str(i) for i in range(10_001)],
            None,
            "10001 different values in 10001 rows, expected at",
        ),
        (np.arange(10_001) + 0.5, "classification", "at most 10000 classes"),
    ],
)
def test_label_that_cannot_be_predicted_so_is_refused(values, declared, message):
    with pytest.raises(UnusableColumns, match=message):
        decide("y", labels(values), declared)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", None, "a"], ["a", "b"]),
        ([10, 9, -1], ["-1", "9", "10"]),
        ([1.0, float("nan"), 0.0], ["0.0", "1.0"]),
        ([True, False], ["False", "True"]),
    ],
)
def test_classes_are_in_the_order_of_their_values(values, classes):
    assert classes_of(labels(values)) == classes
