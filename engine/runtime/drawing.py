"""Tokens that are drawn, for the rows that ask for it."""

from collections.abc import Callable, Sequence
from typing import Any

from .writing import Row


def drawing(rows: Sequence[Row], device: str) -> Callable[[Any, Any], Any]:
    """Leaves of the scores [rows, tokens] of each row that draws only the token that was drawn.

    A row is drawn for by a generator of its own, whatever rows are written beside it.
    """
    import torch

    drawn = [(place, row.sampling) for place, row in enumerate(rows) if row.sampling.temperature]
    generators = {place: torch.Generator(device) for place, _ in drawn}
    for place, sampling in drawn:
        if sampling.seed is None:
            generators[place].seed()
        else:
            generators[place].manual_seed(sampling.seed)

    def draw(_: Any, scores: Any) -> Any:
        for place, sampling in drawn:
            shares = torch.softmax(scores[place] / sampling.temperature, dim=-1)
            if sampling.top_p < 1:
                shares = _most_likely(shares, sampling.top_p)
            token = torch.multinomial(shares, 1, generator=generators[place])
            scores[place] = -torch.inf
            scores[place, token] = 0.0
        return scores

    return draw


def _most_likely(shares: Any, top_p: float) -> Any:
    """The shares of the fewest tokens that have `top_p` together; 0 for the others."""
    ordered, places = shares.sort(descending=True)
    ordered[ordered.cumsum(0) - ordered >= top_p] = 0.0
    return ordered.new_zeros(len(shares)).scatter(0, places, ordered)
