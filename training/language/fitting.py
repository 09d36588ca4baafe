"""The loop that fits a network of transformers to examples, whatever its loss."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import torch
from torch import nn

from engine.protocol import Refused
from training.language.adapters import adapted
from training.language.objective import Objective, computes_in_bfloat16
from training.language.settings import Hyperparameters
from training.language.states import State
from training.language.workers import Workers

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
LARGEST_GRADIENT = 1.0
"""Norm that gradients are cut to, as is common for these networks (Devlin et al. 2019,
arXiv:1810.04805)."""


class _Steps:
    """The batches of this worker, and the rate that each step learns at."""

    def __init__(self, rows: int, settings: Hyperparameters, seed: int, workers: Workers) -> None:
        self._rows, self._seed, self._workers = rows, seed, workers
        self._size, self._accumulated = settings.batch_size, settings.accumulate
        # Every worker takes as many steps, because each waits for the others.
        self._share = -(-rows // workers.count)
        self._each = -(-self._share // (self._size * self._accumulated))
        self._all = settings.epochs * self._each
        self._highest = settings.learning_rate

    def of(self, epoch: int) -> Iterator[tuple[float, list[list[int]]]]:
        """Learning rate and batches of each step of the epoch, which are positions of rows; a
        resumed job sees those that it would have seen."""
        generator = np.random.default_rng([self._seed, epoch])
        mine = generator.permutation(self._rows)[self._workers.rank :: self._workers.count].tolist()
        # The last one is empty where other workers have a row more.
        batches = [mine[at : at + self._size] for at in range(0, self._share, self._size)]
        for number in range(self._each):
            at = number * self._accumulated
            done = (epoch - 1) * self._each + number
            yield self._highest * pace(done, self._all), batches[at : at + self._accumulated]


def fit(objective: Objective, settings: Hyperparameters, seed: int) -> None:
    """Fit the network; reports the loss and the metrics of the validation rows every epoch.

    What is learned goes on from the newest checkpoint. Several workers divide the rows: they learn
    what one would whose batches are as large as theirs together.
    """
    workers = Workers(shard=settings.shard)
    _prepare(objective, settings)
    network = workers.prepared(objective.network)
    learned = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(
        learned, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    state = State(network, optimizer)
    if not state.restore():
        objective.network.eval()
        state.before = objective.measured_before()
    # What measures it has other shapes and keeps no gradients, which would be compiled anew.
    called = torch.compile(network, dynamic=True) if settings.compile else network
    learner = _Learner(objective, network, called, optimizer, settings, workers)
    steps = _Steps(objective.rows, settings, seed, workers)
    saved_at = time.monotonic()
    for epoch in range(state.epoch + 1, settings.epochs + 1):
        loss = learner.learn(steps.of(epoch))
        objective.network.eval()
        state.epoch = epoch
        metrics = {"epoch": epoch, "loss": loss, **objective.measured(), **state.before}
        if epoch == settings.epochs:
            _end(objective, workers, state, metrics)
        elif workers.agree(time.monotonic() - saved_at > settings.checkpoint_every_s):
            state.report(metrics)
            saved_at = time.monotonic()
        else:
            ray.train.report(metrics)


def pace(done: int, steps: int) -> float:
    """Share of the highest learning rate after so many of all steps."""
    rising = max(1, round(WARM_UP * steps))
    return min((done + 1) / rising, (steps - done) / max(1, steps - rising), 1.0)


def _prepare(objective: Objective, settings: Hyperparameters) -> None:
    """Give the network what is declared of it. Raises Refused where it does not take it."""
    if settings.gradient_checkpointing:
        how = {"use_reentrant": False}
        try:
            objective.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
        except ValueError as error:
            raise Refused(
                f"{error}; expected a network that does: declare gradient_checkpointing: false"
            ) from error
    if settings.lora is not None:
        objective.network = adapted(objective.network, settings.lora)


@dataclass(frozen=True)
class _Learner:
    """What steps are made with."""

    objective: Objective
    network: nn.Module
    called: Any
    """The network as it is called: compiled, where this is declared."""
    optimizer: torch.optim.Optimizer
    settings: Hyperparameters
    workers: Workers

    def learn(self, steps: Iterator[tuple[float, list[list[int]]]]) -> float:
        """Take the steps; mean loss of the rows that the workers have learned from."""
        device = self.workers.device
        total, parts = torch.zeros((), device=device), torch.zeros((), device=device)
        self.network.train()
        for rate, batches in steps:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            count = torch.tensor(sum(map(self.objective.parts, batches)), device=device)
            count = self.workers.sum(count).clamp(min=1e-12)
            self.optimizer.zero_grad(set_to_none=True)
            for chosen in batches:
                # Summed on the device: reading a value would wait for the GPU after every batch.
                total += self._gradients(chosen, count, is_last=chosen is batches[-1])
            nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
            self.optimizer.step()
            parts += count
        return (self.workers.sum(total) / parts.clamp(min=1e-12)).item()

    def _gradients(self, chosen: list[int], count: torch.Tensor, *, is_last: bool) -> torch.Tensor:
        """Add the gradients of the batch to those of its step; sum of its losses."""
        kind, is_short = self.workers.device.type, computes_in_bfloat16(self.settings)
        with self.workers.gradients_of(self.network, is_last=is_last):
            with torch.autocast(kind, torch.bfloat16, enabled=is_short):
                # Other workers wait for the gradients of this one, even of no row.
                loss = self.objective.loss(self.called, chosen or [0]) * bool(chosen)
            # Workers take the mean of their gradients, and each has its part of the sum.
            (loss * self.workers.count / count).backward()
        return loss.detach()


def _end(objective: Objective, workers: Workers, state: State, metrics: dict[str, float]) -> None:
    """Report the metrics with the last checkpoint, which has the model."""
    whole = workers.whole(objective.network)

    def write(folder: Path) -> None:
        objective.network = whole
        objective.save(folder)

    state.report_with(metrics, write)
