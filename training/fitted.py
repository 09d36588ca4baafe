"""What training leaves, before it is exported and measured."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from training.contract import SearchResult


def _draw_nothing(pictures: Path) -> None:
    """No pictures."""


class Fitted(NamedTuple):
    """The newest checkpoint of a training, and how it came there."""

    checkpoint: Path | None
    history: list[dict[str, float]]
    """What the training of this checkpoint reported, by step."""
    resumed_from: int = 0
    first_report_at: float | None = None
    """Seconds since the epoch."""
    search: SearchResult | None = None
    draw: Callable[[Path], None] = _draw_nothing
    """Draws its own pictures into a folder."""
