"""Pictures of what a suite measured."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from projects.suite import Corruptions, Episodes, LinfAttack, Physics, Suite
from simulations.evidence import MEAN, Measurement


def draw(suite: Suite, measurements: list[Measurement], folder: Path) -> list[Path]:
    """Files of the pictures that show the suite's results."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(suite, Corruptions):
        lines = {
            name: ["clean", *[f"{name} {s:g}" for s in levels]]
            for name, levels in suite.corruptions.items()
        }
        levels = {name: [0.0, *severities] for name, severities in suite.corruptions.items()}
        figure = _curves(measurements, "accuracy", lines, levels, "severity", suite.gated_up_to)
        return [_save(figure, folder / "accuracy_against_severity.png")]
    if isinstance(suite, LinfAttack):
        epsilons = [0.0, *suite.epsilons]
        lines = {"PGD": [f"epsilon {e:g}" for e in epsilons]}
        figure = _curves(
            measurements, "robust_accuracy", lines, {"PGD": epsilons}, "epsilon", suite.gated_up_to
        )
        return [_save(figure, folder / "robust_accuracy_against_epsilon.png")]
    return _draw_episodes(suite, measurements, folder)


def _draw_episodes(suite: Episodes, measurements: list[Measurement], folder: Path) -> list[Path]:
    lines, levels = {}, {}
    for name, values in suite.vary.items():
        nominal = 0.0 if name == "sensor_noise" else 1.0
        levels[name] = sorted({*values, nominal})
        lines[name] = ["nominal" if v == nominal else f"{name} {v:g}" for v in levels[name]]
    figure = _curves(measurements, "survival", lines, levels, "multiple of nominal", None)
    pictures = [_save(figure, folder / "survival_against_physics.png")]
    for first, second in suite.pairs:
        figure = _failure_map(suite, measurements, first, second)
        pictures.append(_save(figure, folder / f"failure_map_{first}_{second}.png"))
    return pictures


def _curves(
    measurements: list[Measurement],
    metric: str,
    lines: dict[str, list[str]],
    levels: dict[str, list[float]],
    xlabel: str,
    gated_up_to: float | None,
) -> Figure:
    curves = {m.scenario: m for m in measurements if m.metric == metric and m.scenario != MEAN}
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for name, scenarios in lines.items():
        points = [curves[scenario] for scenario in scenarios]
        axes.plot(levels[name], [p.estimate for p in points], marker=".", label=name)
        axes.fill_between(
            levels[name], [p.low for p in points], [p.high for p in points], alpha=0.15
        )
    if gated_up_to is not None:
        axes.axvline(gated_up_to, color="grey", linestyle=":", label="gated up to")
    axes.set(xlabel=xlabel, ylabel=metric.replace("_", " "), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def _failure_map(
    suite: Episodes, measurements: list[Measurement], first: Physics, second: Physics
) -> Figure:
    estimates = {m.scenario: m.estimate for m in measurements if m.metric == "survival"}
    rows, columns = suite.vary[first], suite.vary[second]
    failures = np.array(
        [[1 - estimates[f"{first} {a:g} {second} {b:g}"] for b in columns] for a in rows]
    )
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(failures, cmap="magma_r", vmin=0, vmax=1, origin="lower")
    figure.colorbar(image, ax=axes, label="share of failed episodes")
    axes.set_xticks(range(len(columns)), [f"{v:g}" for v in columns])
    axes.set_yticks(range(len(rows)), [f"{v:g}" for v in rows])
    axes.set(xlabel=second.replace("_", " "), ylabel=first.replace("_", " "), title="Failure map")
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=90)
    return path
