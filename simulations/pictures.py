"""Pictures of what a suite measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from simulations.evidence import MEAN, Measurement


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Files of the figures, named by their keys."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in figures.items():
        files.append(folder / f"{name}.png")
        figure.savefig(files[-1], dpi=90)
    return files


def curves(
    measurements: list[Measurement],
    metric: str,
    lines: Mapping[str, Mapping[float, str]],
    xlabel: str,
    gated_up_to: float | None = None,
) -> Figure:
    """The metric against a level with its intervals; a line is the scenario of each level.

    A metric whose values all lie between 0 and 1 is drawn on that range.
    """
    by_scenario = {m.scenario: m for m in measurements if m.metric == metric and m.scenario != MEAN}
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for name, scenarios in lines.items():
        points = [by_scenario[scenario] for scenario in scenarios.values()]
        axes.plot([*scenarios], [p.estimate for p in points], marker=".", label=name)
        axes.fill_between(
            [*scenarios], [p.low for p in points], [p.high for p in points], alpha=0.15
        )
    if gated_up_to is not None:
        axes.axvline(gated_up_to, color="grey", linestyle=":", label="gated up to")
    axes.set(xlabel=xlabel, ylabel=metric.replace("_", " "))
    if all(m.low >= 0 and m.high <= 1 for m in by_scenario.values()):
        axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def share_map(
    shares: np.ndarray,
    rows: tuple[str, Sequence[float]],
    columns: tuple[str, Sequence[float]],
    label: str,
) -> Figure:
    """Shares [rows, columns] as colours over two parameters and their levels."""
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="magma_r", vmin=0, vmax=1, origin="lower")
    figure.colorbar(image, ax=axes, label=label)
    axes.set_xticks(range(len(columns[1])), [f"{v:g}" for v in columns[1]])
    axes.set_yticks(range(len(rows[1])), [f"{v:g}" for v in rows[1]])
    axes.set(
        xlabel=columns[0].replace("_", " "),
        ylabel=rows[0].replace("_", " "),
        title=label.capitalize(),
    )
    return figure


def intervals(measurements: list[Measurement], metric: str) -> Figure:
    """The metric of every scenario with its interval, gated ones in a stronger colour."""
    shown = [m for m in measurements if m.metric == metric and m.scenario != MEAN]
    figure = Figure(figsize=(6.5, max(2.0, 0.28 * len(shown) + 1)), layout="constrained")
    axes = figure.subplots()
    for place, m in enumerate(reversed(shown)):
        color = "tab:blue" if m.gated else "silver"
        axes.plot([m.low, m.high], [place, place], color=color)
        axes.plot(m.estimate, place, marker="o", markersize=4, color=color)
    axes.set_yticks(range(len(shown)), [m.scenario for m in reversed(shown)], fontsize="small")
    axes.set(xlabel=metric.replace("_", " "), title="Gated scenarios in blue")
    axes.grid(alpha=0.3, axis="x")
    return figure
