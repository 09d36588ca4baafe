"""Tables of any columns: boosted trees, a random forest or a linear model.

The feature steps (filling of missing values, scaling, one column for each category, words of a
text by tf-idf) are part of the exported model, which takes raw rows.
"""

import copy
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import ray.train
import skops.io
from pydantic import BaseModel, Field
from ray.train import Checkpoint
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from engine.artefact import NOTES, ONNX
from engine.protocol import Refused
from engine.task_metrics import metrics_of
from training.scikit_learn_onnx import as_onnx, expected_of, require_same_answers
from training.table_learners import LEARNERS, Work
from training.table_rows import Examples, Rows, Table

STATE = "state.skops"
BEST = "best.skops"
REPORTS = 10
"""Reports of one training."""
KEEP_EVERY_S = 30.0
"""Work that a crash may cost, besides that until the next report: to write thousands of trees takes
as long as to learn tens."""
VALIDATION = 0.1
FEWEST_VALIDATED = 200
"""Training rows below which none is set aside for the curve."""
MOST_VALIDATED = 5_000
"""Rows that are set aside at most; they tell an accuracy to 1.4 percent with a confidence of 95
percent, more are better learned, and every report asks all trees for each."""
COMPARED = 2_000
"""Rows on which scikit-learn and ONNX Runtime must agree."""
TRUSTED = ("sklearn.", "numpy.", "scipy.")
"""Packages of the types that a checkpoint holds."""
WORD = r"[^\s.,!?;:()'\"-]+"


class Hyperparameters(BaseModel):
    """What may be declared for `train`."""

    learner: Literal["boosted_trees", "forest", "linear", "network"] = "boosted_trees"
    """`boosted_trees`: histogram gradient boosting (Ke et al. 2017); `forest`: a random forest
    (Breiman 2001); `linear`: logistic or ridge regression; `network`: a multilayer perceptron."""
    iterations: int = Field(default=100, ge=1, le=100_000)
    """Trees, or rounds of trees; steps of the solver for `linear`, epochs for `network`."""
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    """Of boosted trees (0.1 by default) and of networks (0.001)."""
    layers: list[int] = [64, 64]
    """Widths of the hidden layers of a network."""
    depth: int | None = Field(default=None, ge=1, le=64)
    """Greatest depth of a tree; by default a boosted tree has at most 31 leaves."""
    fewest_rows: int = Field(default=5, ge=1)
    """Rows that a leaf has at least."""
    regularisation: float = Field(default=1.0, ge=0)
    """L2 penalty of boosted trees and of linear models; of a network in ten thousandths."""
    balanced: bool = False
    """Whether every class weighs the same, however many rows it has."""
    words: int = Field(default=1000, ge=1, le=100_000)
    """Most frequent words of each text column that become features."""
    rarest: int = Field(default=1, ge=1)
    """Rows that a category has at least; rarer ones share one feature."""
    patience: int = Field(default=3, ge=1)
    """Reports without a smaller loss on the validation rows of the dataset, after which boosted
    trees and networks end; there are ten reports at most."""


def train(config: dict[str, Any]) -> None:
    """Learn from a table; reports loss and score on rows that are not learned from ten times.

    These are the validation rows of the dataset, or else set-aside training rows. Boosted trees and
    networks end, and fall back to their best, where the loss on validation rows no longer gets
    smaller.
    Hyperparameters: the fields of `Hyperparameters`. A resumed job adds to the trees that the
    checkpoint has. Raises ValueError where a column cannot be learned from.
    """
    settings = Hyperparameters.model_validate(config)
    learner = LEARNERS[settings.learner]
    table = Table(config["dataset"])
    learned, checked, stops = _examples(table, settings, config["seed"])
    model, progress = _restored()
    if model is None:
        steps = feature_steps(table, settings)
        estimator = learner.build(settings, bool(table.classes), config["seed"])
        model = Pipeline([("features", steps), ("learner", estimator)])
    steps: Any = model["features"]
    seen = _features(steps, learned.rows)
    weights = learner.weights(settings, learned.targets, learned.weights)
    marks = _marks(settings, progress.iteration)
    course = Course(table, settings, steps, learned.rows, checked, stops, progress)
    work = Work(seen, learned.targets, weights, progress.iteration, marks)
    learner.fit(model["learner"], work, course.reached)


class Course:
    """The reports of one training."""

    def __init__(
        self,
        table: Table,
        settings: Hyperparameters,
        steps: ColumnTransformer,
        learned: Rows,
        checked: Examples | None,
        stops: bool,
        progress: "Progress",
    ) -> None:
        self._table, self._settings, self._steps = table, settings, steps
        self._learned, self._checked, self._stops = learned, checked, stops
        self._seen = None if checked is None else _features(steps, checked.rows)
        self._progress = progress
        self._kept_at = time.monotonic()

    def reached(self, iterations: int, learner: BaseEstimator) -> bool:
        """Report what is learned by then; whether it is enough."""
        model = Pipeline([("features", self._steps), ("learner", learner)])
        metrics = self._measured(learner)
        self._progress = progress = self._progress.after(
            iterations, model, metrics if self._stops else {}
        )
        is_last = (
            iterations == self._settings.iterations or progress.worse >= self._settings.patience
        )
        if is_last and progress.best is not None:
            model = progress.best
            metrics = self._measured(model["learner"])
        told = {"iteration": iterations, **metrics}
        if is_last or time.monotonic() - self._kept_at > KEEP_EVERY_S:
            with tempfile.TemporaryDirectory() as folder:
                self._keep(Path(folder), model, is_last)
                ray.train.report(told, checkpoint=Checkpoint.from_directory(folder))
            self._kept_at = time.monotonic()
        else:
            ray.train.report(told)
        return is_last

    def _keep(self, folder: Path, model: Pipeline, is_last: bool) -> None:
        """Write the checkpoint, with the export where it is the last."""
        progress = self._progress
        skops.io.dump(model, folder / STATE)
        if progress.best is not None and progress.worse:
            skops.io.dump(progress.best, folder / BEST)
        done = {"iteration": progress.iteration, "loss": progress.loss, "worse": progress.worse}
        (folder / "done.json").write_text(json.dumps(done))
        if is_last:
            classes = len(self._table.classes)
            (folder / ONNX).write_bytes(_exported(model, self._learned, classes))
            (folder / NOTES).write_text(self._table.notes().model_dump_json())

    def _measured(self, learner: Any) -> dict[str, float]:
        """Loss and score of the rows, each of which counts once whatever its weight."""
        if self._checked is None:
            return {}
        targets, classes = self._checked.targets, self._table.classes
        if not classes:
            predicted = learner.predict(self._seen)
        else:
            # A rare class may have no row among those that are learned from.
            predicted = np.zeros((len(targets), len(classes)))
            predicted[:, learner.classes_] = learner.predict_proba(self._seen)
        wanted = ("log_loss", "accuracy") if classes else ("rmse", "r2")
        known = metrics_of(self._table.task)
        return {f"validation_{name}": known[name].of(targets, predicted) for name in wanted}


class Progress(NamedTuple):
    """How far a training is, and its best model by the loss on validation rows."""

    iteration: int = 0
    loss: float = math.inf
    worse: int = 0
    """Reports since the best."""
    best: Pipeline | None = None

    def after(self, iteration: int, model: Pipeline, metrics: dict[str, float]) -> "Progress":
        """The progress with another report; one without a loss judges nothing."""
        loss = metrics.get("validation_log_loss", metrics.get("validation_rmse"))
        if loss is None:
            return self._replace(iteration=iteration)
        if loss < self.loss:
            # Copied, because the model goes on learning.
            return Progress(iteration, loss, 0, copy.deepcopy(model))
        return self._replace(iteration=iteration, worse=self.worse + 1)


def _examples(
    table: Table, settings: Hyperparameters, seed: int
) -> tuple[Examples, Examples | None, bool]:
    """Rows to learn from, rows that are only measured, and whether these may end the training."""
    every = table.rows("train")
    if table.dataset.get("validation"):
        return every, table.rows("validation"), LEARNERS[settings.learner].may_stop
    learned, checked = _divided(len(every.targets), seed)
    return every.take(learned), every.take(checked) if len(checked) else None, False


def feature_steps(table: Table, settings: Hyperparameters) -> ColumnTransformer:
    """What is done to the columns before the learner sees them."""
    numbers = LEARNERS[settings.learner].numbers()
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


def _marks(settings: Hyperparameters, done: int) -> list[int]:
    """Iterations after which is reported, from what is done on."""
    if not LEARNERS[settings.learner].is_gradual:
        return [settings.iterations]
    step = max(1, -(-settings.iterations // REPORTS))
    marks = sorted({*range(step, settings.iterations, step), settings.iterations})
    # One more report where a checkpoint was the last, so that there is always an export.
    return [mark for mark in marks if mark > done] or [settings.iterations]


def _features(steps: ColumnTransformer, rows: Rows) -> Any:
    """What the learner sees of the rows; the feature steps are learned once."""
    frame = rows.frame()
    return steps.transform(frame) if hasattr(steps, "transformers_") else steps.fit_transform(frame)


def _divided(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and rows that are only measured, of the training split."""
    order = np.random.default_rng(seed).permutation(rows)
    aside = min(MOST_VALIDATED, round(rows * VALIDATION)) if rows >= FEWEST_VALIDATED else 0
    return np.sort(order[aside:]), np.sort(order[:aside])


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
    require_same_answers(exported, model, expected_of(model, first.frame()), tensors)
    return exported


def _require_all_classes(model: Pipeline, classes: int) -> None:
    known = getattr(model["learner"], "classes_", np.arange(classes))
    if classes and len(known) < classes:
        missing = sorted(set(range(classes)) - set(known.tolist()))
        raise Refused(
            f"{len(missing)} of {classes} classes have no row to learn from (the first is class "
            f"number {missing[0]}); expected at least one of each: add rows, or drop the class"
        )


def _restored() -> tuple[Pipeline | None, Progress]:
    """The model of the checkpoint, and how far it is; None for a fresh start."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None, Progress()
    with checkpoint.as_directory() as folder:
        model = _loaded(Path(folder, STATE))
        done = json.loads(Path(folder, "done.json").read_bytes())
        progress = Progress(**done)
        if math.isfinite(progress.loss):
            best = Path(folder, BEST)
            progress = progress._replace(
                best=_loaded(best) if best.exists() else copy.deepcopy(model)
            )
    return model, progress


def _loaded(file: Path) -> Pipeline:
    # Others are refused by skops, because a file of a bucket may be anybody's.
    kinds = skops.io.get_untrusted_types(file=file)
    return skops.io.load(file, trusted=[kind for kind in kinds if kind.startswith(TRUSTED)])
