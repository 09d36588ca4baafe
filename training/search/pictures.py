"""What a person looks at after a search: the best so far, what mattered, and every trial."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure

from projects.search import Search
from training.search.trial import Trial

FEWEST_RANKED = 4
"""Finished trials below which the importance of hyperparameters is chance."""
TABLE = "trials.json"
LONGEST_NAME = 24


def draw(search: Search, trials: Sequence[Trial], study: optuna.Study, pictures: Path) -> None:
    """Draw what there are enough trials for."""
    finished = [trial for trial in trials if trial.state == "finished"]
    _draw_best(search, trials, pictures / "search_best.png")
    _draw_parallel(search, finished, pictures / "search_parallel.png")
    if len(finished) >= FEWEST_RANKED and len(search.over) > 1:
        _draw_importance(study, pictures / "search_importance.png")


def write_table(trials: Sequence[Trial], folder: Path) -> Path:
    """File with every trial: its values, how it ended, and its value of the metric."""
    path = folder / TABLE
    rows = [trial.model_dump(exclude={"after_s"}) for trial in trials]
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return path


def _draw_best(search: Search, trials: Sequence[Trial], path: Path) -> None:
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for state, marker in (("finished", "o"), ("stopped", "x")):
        shown = [(t.number, t.value) for t in trials if t.state == state and t.value is not None]
        if shown:
            axes.scatter(*zip(*shown, strict=True), marker=marker, alpha=0.6, label=state)
    finished = [(t.number, t.value) for t in trials if t.state == "finished"]
    numbers, values = map(np.array, zip(*finished, strict=True))
    lowest = np.minimum.accumulate if search.aim == "min" else np.maximum.accumulate
    axes.step(numbers, lowest(values), where="post", label="best so far")
    axes.set(xlabel="trial", ylabel=search.metric, title="Search")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=90)


def _draw_importance(study: optuna.Study, path: Path) -> None:
    try:
        importance = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    except (RuntimeError, ValueError):
        # Trials that all have the same value rank nothing.
        return
    figure = Figure(figsize=(5, 1 + 0.4 * len(importance)), layout="constrained")
    axes = figure.subplots()
    names = list(importance)[::-1]
    axes.barh([name[:LONGEST_NAME] for name in names], [importance[name] for name in names])
    axes.set(xlabel="share of the variance (fANOVA)", title="Importance of hyperparameters")
    figure.savefig(path, dpi=90)


def _draw_parallel(search: Search, finished: Sequence[Trial], path: Path) -> None:
    """One line per finished trial over its values, the better the darker."""
    values = np.array([trial.value for trial in finished], float)
    columns: list[np.ndarray] = []
    figure = Figure(figsize=(2 + 1.6 * (len(search.over) + 1), 4), layout="constrained")
    axes = figure.subplots()
    for position, name in enumerate(search.over):
        column, ticks = _scaled(search, name, [trial.values[name] for trial in finished])
        columns.append(column)
        _label(axes, position, ticks)
    low, high = values.min(), values.max()
    columns.append((values - low) / (high - low) if high > low else np.full(len(values), 0.5))
    _label(axes, len(search.over), {0.0: f"{low:.4g}", 1.0: f"{high:.4g}"})
    quality = values if search.aim == "max" else -values
    shades = np.linspace(1, 0.2, len(values))[::-1]
    for shade, row in zip(shades, np.argsort(quality), strict=True):
        heights = [column[row] for column in columns]
        axes.plot(range(len(columns)), heights, color=(0.1, 0.3, 0.6, shade), linewidth=1.5)
    names = [name[:LONGEST_NAME] for name in (*search.over, search.metric)]
    axes.set_xticks(range(len(columns)), names)
    axes.set_yticks([])
    axes.set(title="Finished trials, the better the darker", ylim=(-0.1, 1.1))
    for position in range(len(columns)):
        axes.axvline(position, color="grey", linewidth=0.5)
    figure.savefig(path, dpi=90)


def _scaled(search: Search, name: str, values: list[Any]) -> tuple[np.ndarray, dict[float, str]]:
    """The values between 0 and 1 [trials], and texts by height."""
    each = search.over[name]
    if each.choice is not None:
        texts = [str(choice)[:LONGEST_NAME] for choice in each.choice]
        most = max(1, len(texts) - 1)
        found = np.array([each.position(value) for value in values], float)
        return found / most, {i / most: text for i, text in enumerate(texts)}
    low, high = each.bounds
    numbers, ends = np.array(values, float), np.array([low, high])
    if each.kind.startswith("log"):
        numbers, ends = np.log(numbers), np.log(ends)
    scaled = (numbers - ends[0]) / (ends[1] - ends[0])
    return scaled.clip(0, 1), {0.0: f"{low:.4g}", 1.0: f"{high:.4g}"}


def _label(axes: Any, position: int, ticks: dict[float, str]) -> None:
    for height, text in ticks.items():
        axes.text(position + 0.03, height, text, fontsize="x-small", va="center")
