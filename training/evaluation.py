"""Evaluation of an artefact on the held-out split, and the pictures a person looks at."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, f1_score, mean_absolute_error, r2_score

from training.contract import DatasetFiles
from training.data import split_arrays
from training.export import open_onnx, predict


def evaluate(artefact: Path, dataset: DatasetFiles, pictures: Path) -> dict[str, float]:
    """Metrics of the held-out split, named `test_...`; draws a confusion matrix or a scatter.

    Classification: accuracy and macro F1. Regression: mean absolute error and R squared.
    """
    features, targets = split_arrays(dataset.model_dump(), "test")
    outputs = predict(open_onnx(artefact), features)
    if not dataset.classes:
        predicted = outputs.reshape(len(targets))
        _draw_scatter(targets, predicted, pictures / "predicted_against_true.png")
        return {
            "test_mean_absolute_error": float(mean_absolute_error(targets, predicted)),
            "test_r2": float(r2_score(targets, predicted)),
            "test_rows": float(len(targets)),
        }
    predicted = outputs.argmax(axis=1)
    matrix = confusion_matrix(targets, predicted, labels=range(len(dataset.classes)))
    _draw_confusion(matrix, dataset.classes, pictures / "confusion_matrix.png")
    return {
        "test_accuracy": float((predicted == targets).mean()),
        "test_macro_f1": float(f1_score(targets, predicted, average="macro")),
        "test_rows": float(len(targets)),
    }


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


def _draw_scatter(targets: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(targets, predicted, s=6, alpha=0.5)
    low, high = (
        float(min(targets.min(), predicted.min())),
        float(max(targets.max(), predicted.max())),
    )
    axes.plot([low, high], [low, high], color="grey", linewidth=1)
    axes.set(xlabel="true", ylabel="predicted", title="Held-out split")
    figure.savefig(path, dpi=90)
