"""Evaluation of an artefact on the held-out split, and the pictures a person looks at.

Shapes: U rows, C classes.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from engine.artefact import Signature, SplitContent, read_signature
from engine.protocol import Refused
from engine.rows import columns_of, read_batches, read_rows, targets_of
from engine.runtime.model import Model
from engine.runtime.tensors import tensors_of
from engine.task_metrics import BINS, metrics_of
from engine.task_scores import scores_of
from training.contract import DatasetFiles
from training.text_evaluation import evaluate_texts

MOST_CURVES = 10
"""Classes that have a curve of their own in a picture."""
MOST_POINTS = 20_000
"""Rows that have a point of their own in a picture: one in so many, where there are more."""


def evaluate(artefact: Path, dataset: DatasetFiles, pictures: Path) -> dict[str, float]:
    """Metrics of the held-out split, named `test_...`, and under `baseline_...` those of a model
    that always answers the most frequent class or the mean; draws what shows them.

    Empty where the model's rows are no columns of the dataset. Raises Refused where the model
    gives no finite number for a row.
    """
    signature = read_signature(artefact)
    if not signature.columns or dataset.label is None:
        return {}
    model = Model(artefact)
    if signature.task == "text-generation":
        return evaluate_texts(model, signature, dataset, pictures)
    truth, scores = _truth_and_scores(model, signature, dataset)
    baseline = _baseline(_learned(dataset, dataset.label), len(truth), dataset.classes)
    measured = {"test_rows": float(len(truth))}
    for name, metric in metrics_of(signature.task).items():
        measured[f"test_{name}"] = metric.of(truth, scores)
        measured[f"baseline_{name}"] = metric.of(truth, baseline)
    if dataset.classes:
        _draw_classes(truth, scores, dataset.classes, pictures)
    else:
        shown = slice(None, None, -(-len(truth) // MOST_POINTS))
        _draw_scatter(truth[shown], scores[shown], pictures / "predicted_against_true.png")
        _draw_residuals(truth[shown], scores[shown], pictures / "residuals.png")
    return {name: value for name, value in measured.items() if np.isfinite(value)}


def _truth_and_scores(
    model: Model, signature: Signature, dataset: DatasetFiles
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and scores of the test rows, whose columns are in memory a batch at a time."""
    inputs = [each.model_dump() for each in signature.inputs]
    truth, scores = [], []
    names = dict.fromkeys([*signature.features, dataset.label or ""])
    for batch in read_batches(dataset.test, list(names)):
        tensors = tensors_of(columns_of(batch, signature.columns), inputs)
        truth.append(targets_of(batch.column(dataset.label), dataset.classes))
        scores.append(scores_of(model, tensors, truth[-1]))
    _require_numbers(found := np.concatenate(scores))
    return np.concatenate(truth), found


def _require_numbers(scores: np.ndarray) -> None:
    """Return when every score is a finite number. Raises Refused: the same training would give the
    same model again."""
    is_number = np.isfinite(scores).reshape(len(scores), -1).all(axis=1)
    if not is_number.all():
        raise Refused(
            f"training diverged: the model gives no finite number for {(~is_number).sum()} of "
            f"{len(scores)} test rows, expected one for each. Try a smaller learning rate, and "
            "look for extreme features"
        )


def _learned(dataset: DatasetFiles, label: str) -> SplitContent:
    """What is known of the labels of the training rows, which are read where the version was
    written without it."""
    known = dataset.splits.get("train")
    if known is not None and (known.class_counts or known.mean is not None):
        return known
    labels = targets_of(read_rows(dataset.train, [label]).column(label), dataset.classes)
    if not dataset.classes:
        return SplitContent(rows=len(labels), mean=float(labels.mean()))
    counts = np.bincount(labels[labels >= 0], minlength=len(dataset.classes)).tolist()
    by_class = dict(zip(dataset.classes, counts, strict=True))
    return SplitContent(rows=len(labels), class_counts=by_class)


def _baseline(learned: SplitContent, rows: int, classes: list[str]) -> np.ndarray:
    """Scores of the model that knows the labels of the training rows alone."""
    if not classes:
        return np.full(rows, learned.mean)
    shares = np.array([learned.class_counts.get(name, 0) for name in classes]) / learned.rows
    return np.broadcast_to(shares, (rows, len(shares)))


def draw_curves(history: list[dict[str, float]], path: Path) -> None:
    """One small plot per reported metric, over the steps."""
    names = sorted({name for point in history for name in point} - {"step", "epoch", "iteration"})
    if not names or not history:
        return
    figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        points = [(p["step"], p[name]) for p in history if name in p]
        axes.plot(*zip(*points, strict=True), marker=".")
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)


def _draw_classes(
    truth: np.ndarray, scores: np.ndarray, classes: list[str], pictures: Path
) -> None:
    known = truth >= 0
    matrix = confusion_matrix(truth[known], scores[known].argmax(1), labels=range(len(classes)))
    _draw_confusion(matrix, classes, pictures / "confusion_matrix.png")
    _draw_calibration(truth, scores, pictures / "calibration.png")
    shown = [1] if len(classes) == 2 else range(min(len(classes), MOST_CURVES))
    _draw_roc_and_pr(truth, scores, {c: classes[c] for c in shown}, pictures / "roc_and_pr.png")


def _draw_confusion(matrix: np.ndarray, classes: list[str], path: Path) -> None:
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="Blues")
    figure.colorbar(image, ax=axes, label="rows")
    ticks = range(len(classes))
    axes.set(xlabel="predicted", ylabel="true", title="Held-out split")
    axes.set_xticks(ticks, classes, rotation=90 if len(classes) > 12 else 0)
    axes.set_yticks(ticks, classes)
    if len(classes) <= 20:
        for row, column in np.ndindex(matrix.shape):
            color = "white" if matrix[row, column] > matrix.max() / 2 else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=color)
    figure.savefig(path, dpi=90)


def _draw_calibration(truth: np.ndarray, scores: np.ndarray, path: Path) -> None:
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    bins = [place == b for b in np.unique(place)]
    axes.plot([confidence[b].mean() for b in bins], [right[b].mean() for b in bins], marker="o")
    axes.set(xlabel="confidence", ylabel="accuracy", title="Calibration, held-out split")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    figure.savefig(path, dpi=90)


def _draw_roc_and_pr(
    truth: np.ndarray, scores: np.ndarray, classes: dict[int, str], path: Path
) -> None:
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    roc, pr = figure.subplots(1, 2)
    for position, name in classes.items():
        is_class = truth == position
        if is_class.all() or not is_class.any():
            continue
        false, true, _ = roc_curve(is_class, scores[:, position])
        roc.plot(false, true, label=name)
        precision, recall, _ = precision_recall_curve(is_class, scores[:, position])
        pr.plot(recall, precision, label=name)
    roc.plot([0, 1], [0, 1], color="grey", linewidth=1)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    pr.set(xlabel="recall", ylabel="precision", title="Precision and recall")
    if roc.get_legend_handles_labels()[0]:
        roc.legend(fontsize="small")
    figure.savefig(path, dpi=90)


def _draw_scatter(targets: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(targets, predicted, s=6, alpha=0.5)
    low = float(min(targets.min(), predicted.min()))
    high = float(max(targets.max(), predicted.max()))
    axes.plot([low, high], [low, high], color="grey", linewidth=1)
    axes.set(xlabel="true", ylabel="predicted", title="Held-out split")
    figure.savefig(path, dpi=90)


def _draw_residuals(targets: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(predicted, targets - predicted, s=6, alpha=0.5)
    axes.axhline(0, color="grey", linewidth=1)
    axes.set(xlabel="predicted", ylabel="true less predicted", title="Residuals, held-out split")
    figure.savefig(path, dpi=90)
