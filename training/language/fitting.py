"""The loop that fits a network of transformers to examples, whatever its loss."""

import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from pydantic import BaseModel, Field
from ray.train import Checkpoint
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

CHECKPOINT_EVERY_S = 30.0
"""Work that a crash may cost, besides the epoch under way."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
LARGEST_GRADIENT = 1.0
"""Norm that gradients are cut to, as is common for these networks (Devlin et al. 2019,
arXiv:1810.04805)."""


class Hyperparameters(BaseModel):
    """What may be declared for every trainer of texts."""

    pretrained: str
    """A model of the hub, a folder that begins with `./` or `/`, or `s3://BUCKET/FOLDER`, with its
    tokenizer."""
    revision: str | None = None
    """The model's commit."""
    epochs: int = Field(ge=1)
    """Times that all training rows are learned from."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Of AdamW at its highest: it rises over the first tenth of the steps, and falls to zero."""
    batch_size: int = Field(default=16, ge=1)
    """Rows that each worker learns from in one step."""
    longest: int | None = Field(default=None, ge=2)
    """Tokens of a row that are read; by default as many as the network takes."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""


class Objective(ABC):
    """What a network is fitted to."""

    network: Any
    """A module of PyTorch, of any class of transformers."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of rows to learn from."""

    @abstractmethod
    def loss(self, network: nn.Module, chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of the losses of the chosen rows, and what it is divided by."""

    @abstractmethod
    def measured(self) -> dict[str, float]:
        """Metrics of the validation rows; none where there are none."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model as a runtime takes it."""


def fit(objective: Objective, settings: Hyperparameters, seed: int) -> None:
    """Fit the network; reports the loss and the metrics of the validation rows every epoch.

    What is learned goes on from the newest checkpoint. Several workers divide the rows.
    """
    device = ray.train.torch.get_device()
    network = ray.train.torch.prepare_model(objective.network.to(device))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    first = _restore(network, optimizer)
    saved_at = time.monotonic()
    for epoch in range(first, settings.epochs + 1):
        loss = _epoch(objective, network, optimizer, settings, seed, epoch)
        objective.network.eval()
        metrics = {"epoch": epoch, "loss": loss, **objective.measured()}
        is_last = epoch == settings.epochs
        if is_last or time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            _report(network, optimizer, metrics, objective if is_last else None)
            saved_at = time.monotonic()
        else:
            ray.train.report(metrics)


def _epoch(
    objective: Objective,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Hyperparameters,
    seed: int,
    epoch: int,
) -> float:
    """Mean loss of the rows that this worker has learned from."""
    device = next(network.parameters()).device
    network.train()
    batches = list(_batches(objective.rows, settings.batch_size, seed, epoch))
    total = torch.zeros((), device=device)
    parts = torch.zeros((), device=device)
    for number, chosen in enumerate(batches):
        done = (epoch - 1) * len(batches) + number
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _pace(done, settings.epochs * len(batches))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss, count = objective.loss(network, chosen)
        optimizer.zero_grad(set_to_none=True)
        (loss / count.clamp(min=1e-12)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        # Summed on the device: reading a value would wait for the GPU after every batch.
        total += loss.detach()
        parts += count
    return (total / parts.clamp(min=1e-12)).item()


def _batches(rows: int, size: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Positions of this worker's rows; a resumed job sees the batches it would have seen."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(rows)
    # Every worker takes as many steps, because each waits for the others.
    share = -(-rows // world)
    mine = np.resize(order, share * world)[rank::world]
    for start in range(0, share, size):
        yield mine[start : start + size].tolist()


def _pace(done: int, steps: int) -> float:
    """Share of the highest learning rate after so many of all steps."""
    rising = max(1, round(WARM_UP * steps))
    return min((done + 1) / rising, (steps - done) / max(1, steps - rising), 1.0)


def _report(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    metrics: dict[str, float],
    last: Objective | None,
) -> None:
    if ray.train.get_context().get_world_rank() != 0:
        # Ray waits until every worker has reported, and one copy of the state is enough.
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        state: dict[str, Any] = {
            # Without the key prefix of DistributedDataParallel, so that one worker can load it.
            "model": get_model_state_dict(network),
            "optimizer": optimizer.state_dict(),
            "epoch": metrics["epoch"],
        }
        torch.save(state, Path(folder, "state.pt"))
        if last is not None:
            last.save(Path(folder))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def _restore(network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """The epoch to go on with."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 1
    with checkpoint.as_directory() as folder:
        # `weights_only`, because loading a checkpoint must not run code from a pickle.
        state = torch.load(Path(folder, "state.pt"), weights_only=True, map_location="cpu")
    set_model_state_dict(network, state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"]) + 1
