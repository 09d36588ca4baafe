"""Examples of texts to write, and the rows of tokens that a network is given.

A row has one example, or several one after another that do not see each other: each has positions
of its own, by which transformers keeps attention within it. Shapes: B rows, T tokens.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from engine.protocol import Refused
from engine.runtime.runtimes.transformers import LEFT_OUT

CLOSE = 1e-2
"""Share of their deviation by which scores of a packed example may differ from its own: what other
examples say changes them by more, and another order of additions by less."""


class Example(NamedTuple):
    """A text of which some tokens are learned."""

    tokens: list[int]
    targets: list[int]
    """The tokens, but `LEFT_OUT` for one that is not learned, as the first never is."""
    weight: float = 1.0
    """How much each of its tokens counts."""

    @property
    def parts(self) -> float:
        """The tokens that are learned, by their weight."""
        return self.weight * sum(each != LEFT_OUT for each in self.targets)


Row = Sequence[Example]


def example_of(tokens: list[int], spans: Sequence[tuple[int, int]], weight: float) -> Example:
    """The example of which the tokens of the spans `(begin, end)` are learned."""
    targets = [LEFT_OUT] * len(tokens)
    for begin, end in spans:
        targets[begin:end] = tokens[begin:end]
    # Nothing comes before it that it could be predicted from.
    targets[0] = LEFT_OUT
    return Example(tokens, targets, weight)


def packed(examples: Sequence[Example], longest: int) -> list[Row]:
    """The examples in rows of at most so many tokens: the longest first, each where the least room
    is left (best-fit decreasing)."""
    rows: list[list[Example]] = []
    # Room and position of each, in that order.
    open_rows: list[tuple[int, int]] = []
    for example in sorted(examples, key=lambda each: -len(each.tokens)):
        size = len(example.tokens)
        place = bisect_left(open_rows, (size, 0))
        if place < len(open_rows):
            room, row = open_rows.pop(place)
            rows[row].append(example)
        else:
            room, row = longest, len(rows)
            rows.append([example])
        insort(open_rows, (room - size, row))
    return list(rows)


def loss_of(network: nn.Module, rows: Sequence[Row], padding: int, device: Any) -> torch.Tensor:
    """Sum of the negative log-likelihoods of the tokens that are learned, by their weights."""
    given, targets_BT, weights_BT = _tensors(rows, padding, device)
    # The token at a place is predicted from those before it.
    scores_BTV = network(**given, use_cache=False).logits[:, :-1].float()
    losses_BT = functional.cross_entropy(
        scores_BTV.transpose(1, 2), targets_BT[:, 1:], ignore_index=LEFT_OUT, reduction="none"
    )
    return (losses_BT * weights_BT[:, 1:]).sum()


def require_apart(network: nn.Module, examples: Sequence[Example], longest: int, kind: str) -> None:
    """Return when two examples in one row do not change each other's scores. Raises Refused."""
    first, second = (Example(each.tokens[: longest // 2], []) for each in examples[:2])
    device = next(network.parameters()).device
    with torch.no_grad():
        try:
            together = network(**_given([[first, second]], 0, device), use_cache=False)
        except TypeError as error:
            raise _apart(kind, str(error)) from error
        alone = network(input_ids=torch.tensor([second.tokens], device=device), use_cache=False)
    wanted = alone.logits[0].float()
    got = together.logits[0, len(first.tokens) :].float()
    difference = ((got - wanted).abs().max() / wanted.std()).item()
    if not difference <= CLOSE:
        raise _apart(kind, f"scores differ by {difference:.2g} of their deviation")


def _apart(kind: str, reason: str) -> Refused:
    return Refused(
        f"a {kind} does not keep texts in one row apart ({reason}), expected a network whose "
        "attention follows position_ids: declare pack: false"
    )


def _tensors(
    rows: Sequence[Row], padding: int, device: Any
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    given = _given(rows, padding, device)
    shape = given["input_ids"].shape
    targets_BT = torch.full(shape, LEFT_OUT, dtype=torch.int64)
    weights_BT = torch.zeros(shape)
    for number, begin, end, example in _places(rows):
        targets_BT[number, begin:end] = torch.tensor(example.targets)
        weights_BT[number, begin:end] = example.weight
    return given, targets_BT.to(device), weights_BT.to(device)


def _given(rows: Sequence[Row], padding: int, device: Any) -> dict[str, torch.Tensor]:
    """What the network takes: positions where a row has several examples, else what is padding."""
    longest = max(sum(len(each.tokens) for each in row) for row in rows)
    ids_BT = torch.full((len(rows), longest), padding, dtype=torch.int64)
    # Padding that begins anew is seen by no example.
    positions_BT = torch.arange(longest).repeat(len(rows), 1)
    mask_BT = torch.zeros_like(ids_BT)
    for number, begin, end, example in _places(rows):
        ids_BT[number, begin:end] = torch.tensor(example.tokens)
        positions_BT[number, begin:end] = torch.arange(end - begin)
        positions_BT[number, end:] = torch.arange(longest - end)
        mask_BT[number, begin:end] = 1
    given = {"input_ids": ids_BT}
    if any(len(row) > 1 for row in rows):
        given["position_ids"] = positions_BT
    else:
        given["attention_mask"] = mask_BT
    return {name: value.to(device) for name, value in given.items()}


def _places(rows: Sequence[Row]) -> Iterator[tuple[int, int, int, Example]]:
    """Row, begin and end of every example."""
    for number, row in enumerate(rows):
        begin = 0
        for example in row:
            end = begin + len(example.tokens)
            yield number, begin, end, example
            begin = end
