"""Image classification: a small convolutional network on rows of pixels.

Shapes: B batch, F features (pixels), C classes.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from pydantic import BaseModel, Field
from ray.train import Checkpoint
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    set_model_state_dict,
)
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from training.data import split_arrays

CHECKPOINT_EVERY_S = 1.0
"""Work that a crash may cost, besides the epoch under way."""


class Hyperparameters(BaseModel):
    """What may be declared for `train`."""

    epochs: int = Field(ge=1)
    """Times that all training images are learned from."""
    learning_rate: float = Field(gt=0)
    """Of Adam."""
    batch_size: int = Field(ge=1)
    """Images that are learned from in one step."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise added to training images, as a share of their range."""
    shift: float = Field(default=0.0, ge=0)
    """Largest random displacement of training images, in pixels."""
    cutout: int = Field(default=0, ge=0)
    """Side in pixels of the square hidden in each training image (DeVries & Taylor 2017,
    arXiv:1708.04552)."""
    label_noise: float = Field(default=0.0, ge=0, le=1)
    """Share of training labels that is shuffled, which makes a model that a gate must refuse."""


class Reader(nn.Module):
    """Two convolutions and a linear layer over square grey images; gives logits [B, C]."""

    def __init__(self, pixels: int, classes: int, low: float, high: float) -> None:
        super().__init__()
        side = round(pixels**0.5)
        if side * side != pixels:
            raise ValueError(
                f"got rows of {pixels} features, expected a square number of pixels: the features "
                "must be those of images as high as they are wide"
            )
        self.low: torch.Tensor
        self.range: torch.Tensor
        # Buffers, so that the exported program scales its input in the same way.
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("range", torch.tensor(max(high - low, 1e-6)))
        self.layers = nn.Sequential(
            nn.Unflatten(1, (1, side, side)),
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (side // 2) ** 2, classes),
        )

    def forward(self, pixels_BF: torch.Tensor) -> torch.Tensor:
        """Logits of the classes."""
        return self.layers((pixels_BF - self.low) / self.range)


def train(config: dict[str, Any]) -> None:
    """Learn to name images; reports loss and accuracy every epoch.

    Hyperparameters: the fields of `Hyperparameters`.
    """
    learn(config, Reader)


def learn(config: dict[str, Any], build: Callable[[int, int, float, float], nn.Module]) -> None:
    """Learn with the network that `build` makes of pixels, classes, and the values of black and
    white; it takes rows of pixels [B, F] and gives logits [B, C]."""
    settings, seed = Hyperparameters.model_validate(config), config["seed"]
    images, labels = split_arrays(config["dataset"], "train")
    if not images.shape[1]:
        raise ValueError(
            "the dataset has no features, expected pixels: declare image: {height: ..., width: "
            "...} for an images: source"
        )
    labels = _shuffled(labels, settings.label_noise, seed)
    device = ray.train.torch.get_device()
    images_BF = torch.from_numpy(images).to(device)
    labels_B = torch.from_numpy(labels).to(device)
    low, high = float(images.min()), float(images.max())
    network = build(images.shape[1], len(config["dataset"]["classes"]), low, high)
    model = ray.train.torch.prepare_model(network.to(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    first = _restore(model, optimizer)
    saved_at = time.monotonic()
    for epoch in range(first, settings.epochs + 1):
        metrics = _train_epoch(model, optimizer, images_BF, labels_B, settings, seed, epoch)
        is_last = epoch == settings.epochs
        if is_last or time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            # Two example rows, because torch.export treats a dimension of size 1 as a constant.
            _report(model, optimizer, epoch, metrics, images_BF[:2] if is_last else None)
            saved_at = time.monotonic()
        else:
            ray.train.report(metrics)


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images_BF: torch.Tensor,
    labels_B: torch.Tensor,
    settings: Hyperparameters,
    seed: int,
    epoch: int,
) -> dict[str, float]:
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    # One generator per epoch: a resumed job sees the batches it would have seen.
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    # All ranks draw the same order and take disjoint parts of it.
    order = torch.randperm(len(labels_B), generator=generator)[rank::world].to(images_BF.device)
    model.train()
    # Summed on the device: reading a value would wait for the GPU after every batch.
    loss_sum = torch.zeros((), device=images_BF.device)
    correct = torch.zeros((), device=images_BF.device)
    for batch in order.split(settings.batch_size):
        inputs = _augmented(images_BF[batch], settings, generator)
        logits_BC = model(inputs)
        loss = functional.cross_entropy(logits_BC, labels_B[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach() * len(batch)
        correct += (logits_BC.argmax(1) == labels_B[batch]).sum()
    rows = len(order)
    return {
        "epoch": epoch,
        "loss": loss_sum.item() / rows,
        "train_accuracy": correct.item() / rows,
    }


def _augmented(
    images_BF: torch.Tensor, settings: Hyperparameters, generator: torch.Generator
) -> torch.Tensor:
    rows, pixels = images_BF.shape
    if shift := settings.shift:
        side = round(pixels**0.5)
        # affine_grid counts displacements in half-widths of the image.
        by_B2 = (torch.rand((rows, 2), generator=generator) * 2 - 1) * (2 * shift / side)
        theta_B23 = torch.eye(2, 3).repeat(rows, 1, 1)
        theta_B23[:, :, 2] = by_B2
        grid = functional.affine_grid(
            theta_B23.to(images_BF.device), [rows, 1, side, side], align_corners=False
        )
        images = images_BF.view(rows, 1, side, side)
        images_BF = functional.grid_sample(images, grid, align_corners=False).view(rows, pixels)
    if cutout := settings.cutout:
        side = round(pixels**0.5)
        if cutout > side:
            raise ValueError(f"got a cutout of {cutout} pixels, expected at most {side}")
        corner_B2 = torch.randint(0, side - cutout + 1, (rows, 2), generator=generator)
        index = torch.arange(side)
        inside_B2S = (index >= corner_B2[..., None]) & (index < corner_B2[..., None] + cutout)
        hidden_BSS = inside_B2S[:, 0, :, None] & inside_B2S[:, 1, None, :]
        images_BF = images_BF * ~hidden_BSS.view(rows, pixels).to(images_BF.device)
    if noise := settings.noise:
        drawn = torch.randn(images_BF.shape, generator=generator).to(images_BF.device)
        images_BF = images_BF + noise * images_BF.max() * drawn
    return images_BF


def _report(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    metrics: dict[str, float],
    example_BF: torch.Tensor | None,
) -> None:
    if ray.train.get_context().get_world_rank() != 0:
        # Ray waits until every rank has reported, and one copy of the state is enough.
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        state = {
            # Without the key prefix of DistributedDataParallel, so that one worker can load it.
            "model": get_model_state_dict(model),
            "optimizer": optimizer.state_dict(),
            "epoch": epoch,
        }
        torch.save(state, Path(folder, "state.pt"))
        if example_BF is not None:
            torch.export.save(_exported(model, example_BF), Path(folder, "model.pt2"))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def _exported(model: nn.Module, example_BF: torch.Tensor) -> torch.export.ExportedProgram:
    network = model.module if isinstance(model, DistributedDataParallel) else model
    batch = torch.export.Dim("batch")
    # The network need not return to the GPU, because it is exported after the last epoch only.
    network = network.eval().cpu()
    return torch.export.export(network, (example_BF.cpu(),), dynamic_shapes=({0: batch},))


def _restore(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 1
    with checkpoint.as_directory() as folder:
        state = torch.load(Path(folder, "state.pt"), weights_only=True)
    set_model_state_dict(model, state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["epoch"] + 1


def _shuffled(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    chosen = np.flatnonzero(generator.random(len(labels)) < share)
    labels = labels.copy()
    labels[chosen] = labels[generator.permutation(chosen)]
    return labels
