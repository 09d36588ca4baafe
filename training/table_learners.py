"""The learners of tables: what each sees of numbers, how it is built, and how it goes on.

Shapes: N rows, F features.
"""

import copy
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

if TYPE_CHECKING:
    from training.tables import Hyperparameters

LARGEST_SEED = 2**32
SMALLEST = 1e-12
"""Penalty and deviation that stand for zero in a division."""


Reached = Callable[[int, BaseEstimator], bool]
"""Takes the iterations that are done and what is learned by then, which it must not keep without a
copy; says whether that is enough."""


class Work(NamedTuple):
    """What is to be learned from, and how far."""

    seen: np.ndarray
    """Features [N, F]."""
    targets: np.ndarray
    """Class positions int64 [N], or numbers float64 [N]."""
    weights: np.ndarray | None
    """How much each row counts [N]."""
    done: int
    """Iterations that are done."""
    marks: list[int]
    """Iterations after which is reported; the last ends the work."""


class Learner(ABC):
    """One way to learn from features."""

    is_gradual = True
    """Whether it is reported on between its iterations; else it learns at once."""
    may_stop = False
    """Whether more iterations may make it worse, so that validation rows may end it."""

    @abstractmethod
    def numbers(self) -> Any:
        """The step that numbers go through before it sees them."""

    @abstractmethod
    def build(self, settings: "Hyperparameters", is_class: bool, seed: int) -> BaseEstimator:
        """The estimator, of which nothing is learned yet."""

    def weights(
        self, settings: "Hyperparameters", targets: np.ndarray, given: np.ndarray | None
    ) -> np.ndarray | None:
        """How much each row counts [N], by the weights that the dataset gives it."""
        return given

    def fit(self, estimator: Any, work: Work, reached: Reached) -> None:
        """Learn from mark to mark, until one is reached that is enough."""
        done = work.done
        for upto in work.marks:
            self.go_on(estimator, work, done, upto)
            if reached(upto, estimator):
                return
            done = upto

    def go_on(self, estimator: Any, work: Work, done: int, upto: int) -> None:
        """Learn up to so many iterations from those that are done."""
        estimator.fit(work.seen, work.targets, sample_weight=work.weights)


def _filled() -> Any:
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _class_weight(settings: "Hyperparameters", is_class: bool) -> dict[str, Any]:
    return {"class_weight": "balanced"} if settings.balanced and is_class else {}


class BoostedTrees(Learner):
    """Histogram gradient boosting (Ke et al. 2017)."""

    may_stop = True

    def numbers(self) -> Any:
        """As they are: trees need no scale, and learn which way a missing number goes."""
        return "passthrough"

    def build(self, settings: "Hyperparameters", is_class: bool, seed: int) -> BaseEstimator:
        """Trees of at most 31 leaves."""
        kind: Any = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
        return kind(
            learning_rate=settings.learning_rate or 0.1,
            l2_regularization=settings.regularisation,
            early_stopping=False,
            max_depth=settings.depth,
            min_samples_leaf=settings.fewest_rows,
            random_state=seed % LARGEST_SEED,
            warm_start=True,
            **_class_weight(settings, is_class),
        )

    def fit(self, estimator: Any, work: Work, reached: Reached) -> None:
        """Add all trees in one call, because each call divides the rows into bins anew and asks
        all earlier trees: ten calls take four times as long."""
        if work.done >= work.marks[-1]:
            reached(work.done, estimator)
            return
        marks = Marks(work.marks, reached)
        estimator.set_params(max_iter=work.marks[-1], **marks.settings())
        # Only the first call for an estimator sets it.
        estimator._scorer = marks
        try:
            estimator.fit(work.seen, work.targets, sample_weight=work.weights)
        except Enough:
            ended = _as_if_ended(estimator)
            estimator.__dict__.clear()
            estimator.__dict__.update(ended.__dict__)


class Enough(Exception):
    """A mark is reached, and no more is to be learned."""


class Marks:
    """Is asked for a score of boosted trees after each iteration, and tells of the marks among
    them: scikit-learn has no other public way into the loop that adds trees."""

    def __init__(self, marks: list[int], reached: Reached) -> None:
        self._marks, self._reached = set(marks), reached

    def settings(self) -> dict[str, Any]:
        """Parameters that let it be asked, and let no score end the training."""
        return {
            "early_stopping": True,
            "validation_fraction": None,
            "n_iter_no_change": sys.maxsize,
            "scoring": self,
        }

    def __call__(self, trees: Any, *_: Any, sample_weight: np.ndarray | None = None) -> float:
        """Always the same score. Raises Enough."""
        if trees.n_iter_ in self._marks and self._reached(trees.n_iter_, _as_if_ended(trees)):
            raise Enough
        return 0.0


def _as_if_ended(trees: Any) -> BaseEstimator:
    """A copy of boosted trees that are being fitted, as they were if the fit ended here."""
    copied = copy.copy(trees)
    copied.set_params(early_stopping=False, scoring="loss")
    copied.do_early_stopping_ = False
    copied.train_score_ = copied.validation_score_ = np.empty(0)
    copied._predictors = list(trees._predictors)
    del copied._in_fit, copied._scorer
    return copied


class Forest(Learner):
    """A random forest (Breiman 2001)."""

    def numbers(self) -> Any:
        """Filled with the median."""
        return _filled()

    def build(self, settings: "Hyperparameters", is_class: bool, seed: int) -> BaseEstimator:
        """Trees without a bound but those of the settings."""
        kind: Any = RandomForestClassifier if is_class else RandomForestRegressor
        return kind(
            max_depth=settings.depth,
            min_samples_leaf=settings.fewest_rows,
            random_state=seed % LARGEST_SEED,
            warm_start=True,
            **_class_weight(settings, is_class),
        )

    def go_on(self, estimator: Any, work: Work, done: int, upto: int) -> None:
        """Add trees."""
        estimator.set_params(n_estimators=upto)
        super().go_on(estimator, work, done, upto)


class Linear(Learner):
    """Logistic or ridge regression."""

    is_gradual = False

    def numbers(self) -> Any:
        """Filled with the median, and scaled."""
        return make_pipeline(_filled(), StandardScaler())

    def build(self, settings: "Hyperparameters", is_class: bool, seed: int) -> BaseEstimator:
        """The estimator of the task."""
        if not is_class:
            return Ridge(alpha=settings.regularisation)
        # Its C divides the penalty that the setting is.
        penalty = 1 / max(settings.regularisation, SMALLEST)
        weight = _class_weight(settings, is_class)
        return LogisticRegression(C=penalty, max_iter=settings.iterations, **weight)


class Network(Learner):
    """A multilayer perceptron trained by Adam (Kingma & Ba 2015)."""

    may_stop = True

    def numbers(self) -> Any:
        """Filled with the median, and scaled."""
        return make_pipeline(_filled(), StandardScaler())

    def build(self, settings: "Hyperparameters", is_class: bool, seed: int) -> BaseEstimator:
        """Layers of the declared widths."""
        kind: Any = MLPClassifier if is_class else MLPRegressor
        return kind(
            hidden_layer_sizes=tuple(settings.layers),
            learning_rate_init=settings.learning_rate or 1e-3,
            alpha=settings.regularisation * 1e-4,
            random_state=seed % LARGEST_SEED,
            warm_start=True,
            # It ends where it is told to, and not where the loss rests.
            n_iter_no_change=1_000_000,
        )

    def weights(
        self, settings: "Hyperparameters", targets: np.ndarray, given: np.ndarray | None
    ) -> np.ndarray | None:
        """Balanced classes are weights of the rows, because a network knows none of classes."""
        if not settings.balanced or targets.dtype.kind != "i":
            return given
        balanced = compute_sample_weight("balanced", targets)
        return balanced if given is None else balanced * given

    def go_on(self, estimator: Any, work: Work, done: int, upto: int) -> None:
        """Learn for more epochs."""
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        estimator.set_params(max_iter=max(1, upto - done))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if isinstance(estimator, MLPClassifier):
                super().go_on(estimator, work, done, upto)
                return
            # Values are learned in standard deviations from their mean: far ones would take many
            # epochs. The last layer has the scale while nothing is learned.
            mean, scale = work.targets.mean(), max(float(work.targets.std()), SMALLEST)
            if done:
                _rescale(estimator, 1 / scale, -mean / scale)
            work = work._replace(targets=(work.targets - mean) / scale)
            super().go_on(estimator, work, done, upto)
            _rescale(estimator, scale, mean)


def _rescale(network: MLPRegressor, factor: float, offset: float) -> None:
    """Let the network give its value times the factor, and the offset more."""
    network.coefs_[-1] = network.coefs_[-1] * factor
    network.intercepts_[-1] = network.intercepts_[-1] * factor + offset


LEARNERS: dict[str, Learner] = {
    "boosted_trees": BoostedTrees(),
    "forest": Forest(),
    "linear": Linear(),
    "network": Network(),
}
"""Learners by name."""
