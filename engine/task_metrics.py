"""The metrics of tasks: what is measured of predictions on labelled rows.

Shapes: U rows, C classes, B resamples, D components, ... any. Most metrics are functions of sums of
components over the rows, so that all resamples of the rows cost one matrix product. Scores are
those of `engine.task_scores`; truth is positions [U] of classes, values [U], or texts [U].
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SMALLEST = 1e-12
"""Probability that stands for zero in a logarithm."""
BINS = 15
"""Bins of confidence, as Guo et al. 2017 (arXiv:1706.04599) use."""


@dataclass(frozen=True)
class TaskMetric:
    """One metric of a task."""

    name: str
    task: str
    components: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """[U, D] of truth and scores."""
    of_sums: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    """[...] of weighted sums of the components [..., D] and of the weights [...]; None for a metric
    that is no function of them."""
    is_better_high: bool
    is_share: bool
    """Whether it lies between 0 and 1."""
    is_mean: bool = False
    """Whether it is the mean of its only component over the rows."""
    reads_answers: bool = False
    """Whether a model that writes has to write for it."""
    of_weights: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """[B] of weights [B, U] and components [U, D], where it is no function of their sums."""

    def value(self, weights: np.ndarray, components: np.ndarray) -> np.ndarray:
        """[B] of weights [B, U], as how often a resample has each row, and components [U, D]."""
        if self.of_sums is None:
            assert self.of_weights is not None
            return self.of_weights(weights, components)
        return self.of_sums(weights @ components, weights.sum(axis=1))

    def of(self, truth: np.ndarray, scores: np.ndarray) -> float:
        """The metric of all rows."""
        once = np.ones((1, len(truth)))
        return float(self.value(once, self.components(truth, scores))[0])


def metrics_of(task: str) -> dict[str, TaskMetric]:
    """The metrics of the task by name, the one that is shown first foremost."""
    return {metric.name: metric for metric in METRICS if metric.task == task}


def _means(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Weighted mean of each component [..., D], NaN where no row has weight."""
    total = total[..., None]
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)


def _mean(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    return _means(sums, total)[..., 0]


def _correct(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return (scores.argmax(axis=1) == truth)[:, None].astype(np.float64)


def _is_class(positions: np.ndarray, classes: int) -> np.ndarray:
    return (positions[:, None] == np.arange(classes)).astype(np.float64)


def _of_classes(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Whether each class is true, predicted, and both: [U, 3C]."""
    classes = scores.shape[1]
    true, predicted = _is_class(truth, classes), _is_class(scores.argmax(axis=1), classes)
    return np.concatenate([true, predicted, true * predicted], axis=1)


def _balanced_accuracy(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that have rows (Brodersen et al. 2010)."""
    true, _, both = np.split(sums, 3, axis=-1)
    return _mean_over(both, true, true > 0)


def _macro_f1(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Mean of the F1 scores of the classes that are true or predicted somewhere."""
    true, predicted, both = np.split(sums, 3, axis=-1)
    return _mean_over(2 * both, true + predicted, true + predicted > 0)


def _mean_over(above: np.ndarray, below: np.ndarray, counted: np.ndarray) -> np.ndarray:
    shares = np.divide(above, below, out=np.zeros_like(above), where=counted)
    return shares.sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1)


def _log_loss(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    known = truth >= 0
    share = np.where(known, scores[np.arange(len(truth)), np.where(known, truth, 0)], 0.0)
    return -np.log(np.maximum(share, SMALLEST))[:, None]


def _true_and_scores(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.concatenate([_is_class(truth, scores.shape[1]), scores], axis=1)


def _auroc(weights: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, as the share of pairs in the right order (Hanley & McNeil 1982);
    of several classes the mean of one against the rest."""
    true, scores = np.split(components, 2, axis=1)
    classes = range(true.shape[1]) if true.shape[1] > 2 else [1]
    areas = [_area(weights, true[:, c], scores[:, c]) for c in classes]
    return np.nanmean(np.stack(areas), axis=0)


def _area(weights: np.ndarray, true: np.ndarray, scores: np.ndarray) -> np.ndarray:
    order = np.argsort(scores, kind="stable")
    weights, true, scores = weights[:, order], true[order], scores[order]
    # Rows of equal scores are a group: half of the pairs within it are in the right order.
    starts = np.flatnonzero(np.r_[True, np.diff(scores) > 0])
    positive = np.add.reduceat(weights * true, starts, axis=1)
    negative = np.add.reduceat(weights * (1 - true), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    right = (positive * (below + negative / 2)).sum(axis=1)
    return np.divide(right, pairs, out=np.full_like(right, np.nan), where=pairs > 0)


def _bins(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Confidence less correctness of every row, in the column of its bin: [U, BINS]."""
    confidence = scores.max(axis=1)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    components = np.zeros((len(truth), BINS))
    components[np.arange(len(truth)), place] = confidence - _correct(truth, scores)[:, 0]
    return components


def _calibration_error(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.abs(_means(sums, total)).sum(axis=-1)


def _squared(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return ((scores - truth) ** 2)[:, None]


def _absolute(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.abs(scores - truth)[:, None]


def _root(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.sqrt(_mean(sums, total))


def _of_variance(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    # Less the mean of all rows, so that large values lose no digits in their squares.
    centred = truth - truth.mean()
    return np.stack([(scores - truth) ** 2, centred, centred**2], axis=1)


def _r2(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Share of the variance that is explained; NaN where all values are equal."""
    squared, mean, square = np.moveaxis(_means(sums, total), -1, 0)
    variance = square - mean**2
    return 1 - np.divide(squared, variance, out=np.full_like(squared, np.nan), where=variance > 0)


def _of_tokens(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return scores[:, :2]


def _perplexity(sums: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Exponential of the mean negative log-likelihood of a token (Jelinek et al. 1977)."""
    losses, tokens = np.moveaxis(sums, -1, 0)
    mean = np.divide(losses, tokens, out=np.full_like(losses, np.nan), where=tokens > 0)
    return np.exp(mean)


def _match(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return scores[:, 2:]


_CLASSES, _VALUES, _TEXTS = "classification", "regression", "text-generation"
METRICS = (
    TaskMetric("accuracy", _CLASSES, _correct, _mean, True, True, is_mean=True),
    TaskMetric("balanced_accuracy", _CLASSES, _of_classes, _balanced_accuracy, True, True),
    TaskMetric("macro_f1", _CLASSES, _of_classes, _macro_f1, True, True),
    TaskMetric("auroc", _CLASSES, _true_and_scores, None, True, True, of_weights=_auroc),
    TaskMetric("log_loss", _CLASSES, _log_loss, _mean, False, False, is_mean=True),
    TaskMetric("calibration_error", _CLASSES, _bins, _calibration_error, False, True),
    TaskMetric("rmse", _VALUES, _squared, _root, False, False),
    TaskMetric("mae", _VALUES, _absolute, _mean, False, False, is_mean=True),
    TaskMetric("r2", _VALUES, _of_variance, _r2, True, False),
    TaskMetric("perplexity", _TEXTS, _of_tokens, _perplexity, False, False),
    TaskMetric("exact_match", _TEXTS, _match, _mean, True, True, is_mean=True, reads_answers=True),
)
