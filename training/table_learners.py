"""The learners of tables: what each sees of numbers, how it is built, and how it goes on.

Shapes: N rows, F features.
"""

from abc import ABC, abstractmethod
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
    upto: int


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

    def fit(self, estimator: Any, work: Work) -> None:
        """Learn up to that many iterations."""
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

    def fit(self, estimator: Any, work: Work) -> None:
        """Add trees."""
        estimator.set_params(max_iter=work.upto)
        super().fit(estimator, work)


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

    def fit(self, estimator: Any, work: Work) -> None:
        """Add trees."""
        estimator.set_params(n_estimators=work.upto)
        super().fit(estimator, work)


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

    def fit(self, estimator: Any, work: Work) -> None:
        """Learn for more epochs."""
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        estimator.set_params(max_iter=max(1, work.upto - work.done))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if isinstance(estimator, MLPClassifier):
                super().fit(estimator, work)
                return
            # Values are learned in standard deviations from their mean: far ones would take many
            # epochs. The last layer has the scale while nothing is learned.
            mean, scale = work.targets.mean(), max(float(work.targets.std()), SMALLEST)
            if work.done:
                _rescale(estimator, 1 / scale, -mean / scale)
            super().fit(estimator, work._replace(targets=(work.targets - mean) / scale))
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
