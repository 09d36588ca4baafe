"""What the metrics of a task are computed from: the answers of a model to labelled rows.

Shapes: U rows, C classes.
"""

from collections.abc import Iterable

import numpy as np

from engine.runtime.model import Model
from engine.runtime.predictions import probabilities_of
from engine.runtime.tensors import Tensors, rows_in, taken
from engine.task_metrics import TaskMetric

ROWS_AT_ONCE = 8192


def scores_of(
    model: Model, tensors: Tensors, truth: np.ndarray | None, metrics: Iterable[TaskMetric] = ()
) -> np.ndarray:
    """Probabilities of the classes [U, C], or predicted values [U], float64.

    Of a model that writes: the negative log-likelihood of the true text and its number of tokens
    [U, 2], and where a metric needs it, whether that text is what is written [U, 3].
    """
    if model.signature["task"] == "text-generation":
        assert truth is not None
        is_written = any(metric.reads_answers for metric in metrics)
        return _of_texts(model, tensors, truth, is_written=is_written)
    answers = model.answers_in_parts(tensors, ROWS_AT_ONCE)
    probabilities = probabilities_of(model.signature, answers)
    if probabilities is None:
        return answers.reshape(len(answers)).astype(np.float64)
    return probabilities


def _of_texts(model: Model, tensors: Tensors, truth: np.ndarray, *, is_written: bool) -> np.ndarray:
    scores = np.empty((len(truth), 3 if is_written else 2))
    for start in range(0, rows_in(tensors), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        given = taken(tensors, part.start, part.stop)
        scores[part, :2] = model.likelihoods(given, truth[part])
        if is_written:
            written = model.answers(given)
            pairs = zip(written, truth[part], strict=True)
            # Models of many kinds begin what they write with a space.
            scores[part, 2] = [got.strip() == wanted.strip() for got, wanted in pairs]
    return scores
