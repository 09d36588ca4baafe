"""Tables of any columns: boosted trees, a random forest or a linear model.

The feature steps (filling of missing values, scaling, one column for each category, words of a
text by tf-idf) are part of the exported model, which takes raw rows. Shapes: N rows, F numbers,
G categories.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import ray.train
import skops.io
from pydantic import BaseModel, Field
from ray.train import Checkpoint
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from engine.artefact import NOTES, ONNX, Column, ModelNotes
from engine.protocol import Refused
from engine.rows import columns_of, read_rows
from engine.runtime.tensors import TEXT
from engine.task_metrics import metrics_of
from training.scikit_learn_onnx import as_onnx, require_agreement

STATE = "state.skops"
REPORTS = 10
"""Reports of one training; a crash costs the work since the last one."""
VALIDATION = 0.1
FEWEST_VALIDATED = 200
"""Training rows below which none is set aside for the curve."""
COMPARED = 2_000
"""Rows on which scikit-learn and ONNX Runtime must agree."""
TRUSTED = ("sklearn.", "numpy.", "scipy.")
"""Packages of the types that a checkpoint holds."""
WORD = r"[^\s.,!?;:()'\"-]+"


class Hyperparameters(BaseModel):
    """What may be declared for `train`."""

    learner: Literal["boosted_trees", "forest", "linear"] = "boosted_trees"
    """`boosted_trees`: histogram gradient boosting (Ke et al. 2017); `forest`: a random forest
    (Breiman 2001); `linear`: logistic or ridge regression."""
    iterations: int = Field(default=100, ge=1, le=100_000)
    """Trees, or rounds of trees; steps of the solver for `linear`."""
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    """Of boosted trees."""
    depth: int | None = Field(default=None, ge=1, le=64)
    """Greatest depth of a tree; by default a boosted tree has at most 31 leaves."""
    fewest_rows: int = Field(default=5, ge=1)
    """Rows that a leaf has at least."""
    regularisation: float = Field(default=1.0, ge=0)
    """L2 penalty of boosted trees and of linear models."""
    balanced: bool = False
    """Whether every class weighs the same, however many rows it has."""
    words: int = Field(default=1000, ge=1, le=100_000)
    """Most frequent words of each text column that become features."""
    rarest: int = Field(default=1, ge=1)
    """Rows that a category has at least; rarer ones share one feature."""


def train(config: dict[str, Any]) -> None:
    """Learn from a table; reports loss and score of set-aside training rows ten times.

    Hyperparameters: the fields of `Hyperparameters`. A resumed job adds to the trees that the
    checkpoint has. Raises ValueError where a column cannot be learned from.
    """
    settings = Hyperparameters.model_validate(config)
    table = Table(config["dataset"])
    rows, targets = table.rows("train")
    learned, checked = _divided(len(targets), config["seed"])
    steps = feature_steps(table, settings)
    model, done = _restored()
    if model is None:
        model = Pipeline([("features", steps), ("learner", _learner(table, settings, config))])
    for upto in _rounds(settings, done):
        _fit_on(model, rows.take(learned), targets[learned], settings, upto)
        metrics = _measured(table, model, rows, targets, checked)
        is_last = upto == settings.iterations
        _report(table, model, {"iteration": upto, **metrics}, rows if is_last else None)


class Rows:
    """Columns by position, as scikit-learn and the exported model take them."""

    def __init__(
        self, numbers: np.ndarray, categories: np.ndarray, texts: list[np.ndarray]
    ) -> None:
        self.numbers, self.categories, self.texts = numbers, categories, texts

    def take(self, chosen: np.ndarray) -> "Rows":
        """The chosen rows."""
        return Rows(
            self.numbers[chosen], self.categories[chosen], [text[chosen] for text in self.texts]
        )

    def frame(self) -> Any:
        """All columns in a DataFrame: numbers, categories, texts."""
        import pandas as pd

        parts = [self.numbers, self.categories, *(text[:, None] for text in self.texts)]
        width = sum(part.shape[1] for part in parts)
        frame = pd.concat([pd.DataFrame(part) for part in parts], axis=1)
        return frame.set_axis([f"c{i}" for i in range(width)], axis=1)

    def tensors(self) -> dict[str, np.ndarray]:
        """Tensors of the exported model, those without a column left out."""
        named = {"numbers": self.numbers, "categories": self.categories}
        named |= {f"text_{i}": text[:, None] for i, text in enumerate(self.texts)}
        return {name: tensor for name, tensor in named.items() if tensor.shape[1]}


class Table:
    """The columns of the dataset by what becomes of them."""

    def __init__(self, dataset: dict[str, Any]) -> None:
        self.dataset = dataset
        columns = [Column.model_validate(each) for each in dataset["columns"]]
        if not columns:
            raise ValueError("the dataset has no column but its label, expected features")
        self.numbers = [c for c in columns if c.kind not in TEXT]
        self.categories = [c for c in columns if c.kind == "category"]
        self.texts = [c for c in columns if c.kind == "text"]
        self.classes: list[str] = dataset["classes"]
        self.task = "classification" if self.classes else "regression"

    def rows(self, split: str) -> tuple[Rows, np.ndarray]:
        """Rows and targets of the split: class positions int64 [N], or numbers float64 [N]."""
        columns = [*self.numbers, *self.categories, *self.texts]
        label = self.dataset["label"]
        table = read_rows(self.dataset[split], [*(c.name for c in columns), label])
        values = columns_of(table, columns)
        numbers = [values[c.name].astype(np.float32) for c in self.numbers]
        empty = np.empty((len(table), 0))
        rows = Rows(
            np.stack(numbers, axis=1) if numbers else empty.astype(np.float32),
            _texts(values, self.categories) if self.categories else empty.astype(object),
            [_texts(values, [column])[:, 0] for column in self.texts],
        )
        return rows, self._targets(table.column(label))

    def _targets(self, labels: Any) -> np.ndarray:
        if not self.classes:
            return labels.to_numpy().astype(np.float64)
        position = {name: index for index, name in enumerate(self.classes)}
        return np.array([position[str(value)] for value in labels.to_pylist()], np.int64)

    def notes(self) -> ModelNotes:
        """Which columns fill which input of the exported model."""
        named = {
            "numbers": [c.name for c in self.numbers],
            "categories": [c.name for c in self.categories],
            **{f"text_{i}": [c.name] for i, c in enumerate(self.texts)},
        }
        return ModelNotes(inputs={name: columns for name, columns in named.items() if columns})


def feature_steps(table: Table, settings: Hyperparameters) -> ColumnTransformer:
    """What is done to the columns before the learner sees them."""
    # Trees need no scale, and boosted ones learn which way a missing number goes.
    numbers: Any = "passthrough"
    if settings.learner == "forest":
        numbers = SimpleImputer(strategy="median", keep_empty_features=True)
    elif settings.learner == "linear":
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        numbers = make_pipeline(imputer, StandardScaler())
    first, second = len(table.numbers), len(table.numbers) + len(table.categories)
    steps: list[tuple[str, Any, Any]] = []
    if table.numbers:
        steps.append(("numbers", numbers, list(range(first))))
    if table.categories:
        encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist" if settings.rarest > 1 else "ignore",
            min_frequency=settings.rarest if settings.rarest > 1 else None,
            sparse_output=False,
        )
        steps.append(("categories", encoder, list(range(first, second))))
    for i in range(len(table.texts)):
        words = TfidfVectorizer(max_features=settings.words, token_pattern=WORD)
        # A single position, because the vectoriser takes one column and no table.
        steps.append((f"text_{i}", words, second + i))
    return ColumnTransformer(steps, sparse_threshold=0)


def _learner(table: Table, settings: Hyperparameters, config: dict[str, Any]) -> BaseEstimator:
    seed, is_class = config["seed"], bool(table.classes)
    weight: dict[str, Any] = {"class_weight": "balanced"} if settings.balanced and is_class else {}
    if settings.learner == "linear":
        if is_class:
            # Its C divides the penalty that the setting is.
            penalty = 1 / max(settings.regularisation, 1e-12)
            return LogisticRegression(C=penalty, max_iter=settings.iterations, **weight)
        return Ridge(alpha=settings.regularisation)
    trees: dict[str, Any] = {
        "max_depth": settings.depth,
        "min_samples_leaf": settings.fewest_rows,
        "random_state": seed % 2**32,
        "warm_start": True,
        **weight,
    }
    if settings.learner == "forest":
        return (RandomForestClassifier if is_class else RandomForestRegressor)(**trees)
    boosting: Any = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
    return boosting(
        learning_rate=settings.learning_rate,
        l2_regularization=settings.regularisation,
        early_stopping=False,
        **trees,
    )


def _rounds(settings: Hyperparameters, done: int) -> list[int]:
    """Iterations after which is reported, from what is done on."""
    if settings.learner == "linear":
        return [settings.iterations]
    step = max(1, -(-settings.iterations // REPORTS))
    marks = sorted({*range(step, settings.iterations, step), settings.iterations})
    # One more report where a checkpoint was the last, so that there is always an export.
    return [mark for mark in marks if mark > done] or [settings.iterations]


def _fit_on(
    model: Pipeline, rows: Rows, targets: np.ndarray, settings: Hyperparameters, upto: int
) -> None:
    """Learn up to that many iterations; the feature steps are learned once."""
    steps, learner = model["features"], model["learner"]
    frame = rows.frame()
    seen = steps.transform(frame) if hasattr(steps, "transformers_") else steps.fit_transform(frame)
    if settings.learner == "boosted_trees":
        learner.set_params(max_iter=upto)
    elif settings.learner == "forest":
        learner.set_params(n_estimators=upto)
    learner.fit(seen, targets)


def _divided(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and rows that are only measured, of the training split."""
    order = np.random.default_rng(seed).permutation(rows)
    aside = round(rows * VALIDATION) if rows >= FEWEST_VALIDATED else 0
    return np.sort(order[aside:]), np.sort(order[:aside])


def _measured(
    table: Table, model: Pipeline, rows: Rows, targets: np.ndarray, checked: np.ndarray
) -> dict[str, float]:
    if not len(checked):
        return {}
    frame = rows.take(checked).frame()
    if not table.classes:
        predicted = model.predict(frame)
    else:
        # A rare class may have no row among those that are learned from.
        predicted = np.zeros((len(checked), len(table.classes)))
        predicted[:, model["learner"].classes_] = model.predict_proba(frame)
    wanted = ("log_loss", "accuracy") if table.classes else ("rmse", "r2")
    known = metrics_of(table.task)
    return {f"validation_{name}": known[name].of(targets[checked], predicted) for name in wanted}


def _report(table: Table, model: Pipeline, metrics: dict[str, Any], last: Rows | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        skops.io.dump(model, Path(folder, STATE))
        Path(folder, "done.json").write_text(json.dumps({"iteration": metrics["iteration"]}))
        if last is not None:
            Path(folder, ONNX).write_bytes(_exported(model, last, len(table.classes)))
            Path(folder, NOTES).write_text(table.notes().model_dump_json())
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def _exported(model: Pipeline, rows: Rows, classes: int) -> bytes:
    """The pipeline in ONNX with scores for all classes. Raises Refused."""
    _require_all_classes(model, classes)
    first = rows.take(np.arange(min(COMPARED, len(rows.numbers))))
    tensors = first.tensors()
    inputs = {
        name: ("float32" if tensor.dtype == np.float32 else "string", tensor.shape[1])
        for name, tensor in tensors.items()
    }
    exported = as_onnx(model, inputs)
    require_agreement(exported, model, first.frame(), tensors)
    return exported


def _require_all_classes(model: Pipeline, classes: int) -> None:
    known = getattr(model["learner"], "classes_", np.arange(classes))
    if classes and len(known) < classes:
        missing = sorted(set(range(classes)) - set(known.tolist()))
        raise Refused(
            f"{len(missing)} of {classes} classes have no row to learn from (the first is class "
            f"number {missing[0]}); expected at least one of each: add rows, or drop the class"
        )


def _restored() -> tuple[Pipeline | None, int]:
    """The model of the checkpoint, and the iterations that it has; None for a fresh start."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None, 0
    with checkpoint.as_directory() as folder:
        file = Path(folder, STATE)
        # Others are refused by skops, because a file of a bucket may be anybody's.
        kinds = skops.io.get_untrusted_types(file=file)
        ours = [kind for kind in kinds if kind.startswith(TRUSTED)]
        model = skops.io.load(file, trusted=ours)
        done = json.loads(Path(folder, "done.json").read_bytes())["iteration"]
    return model, done


def _texts(values: dict[str, np.ndarray], columns: list[Column]) -> np.ndarray:
    """Texts [N, columns], empty where a value is missing."""
    stacked = np.stack([values[column.name] for column in columns], axis=1)
    return np.where(np.equal(stacked, None), "", stacked)  # type: ignore[call-overload]
