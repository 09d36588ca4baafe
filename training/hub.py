"""Fine-tuning of image classifiers from the Hugging Face hub, or from a folder laid out like it.

Shapes: B batch, F features (pixels of a square grey image), C classes.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from training import vision


class Hyperparameters(vision.Hyperparameters):
    """What may be declared for `train`."""

    pretrained: str
    """A model of the hub, or a folder."""
    revision: str | None = None
    """The model's commit."""


class Pretrained(nn.Module):
    """A pretrained image classifier over rows of grey pixels; gives logits [B, C]."""

    def __init__(
        self, pixels: int, classes: int, low: float, high: float, *, name: str, revision: str | None
    ) -> None:
        super().__init__()
        from transformers import AutoModelForImageClassification

        self.side = round(pixels**0.5)
        if self.side * self.side != pixels:
            raise ValueError(f"got rows of {pixels} features, expected a square number of pixels")
        # Code and pickles of a stranger are not run.
        self.network = AutoModelForImageClassification.from_pretrained(
            name,
            revision=revision,
            num_labels=classes,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        self.size = _size(self.network.config)
        self.channels = getattr(self.network.config, "num_channels", 3)
        self.low, self.range = low, max(high - low, 1e-6)

    def forward(self, pixels_BF: torch.Tensor) -> torch.Tensor:
        """Logits of the classes."""
        images = pixels_BF.reshape(-1, 1, self.side, self.side)
        images = (images - self.low) / self.range * 2 - 1
        images = functional.interpolate(images, size=self.size, mode="bilinear")
        return self.network(pixel_values=images.expand(-1, self.channels, -1, -1)).logits


def train(config: dict[str, Any]) -> None:
    """Fine-tune a pretrained image classifier; reports loss and accuracy every epoch.

    Hyperparameters: the fields of `Hyperparameters`.
    """
    settings = Hyperparameters.model_validate(config)
    build = partial(Pretrained, name=settings.pretrained, revision=settings.revision)
    vision.learn(config, build)


def _size(config: Any) -> tuple[int, int]:
    size = getattr(config, "image_size", 224)
    return (size, size) if isinstance(size, int) else (size[0], size[1])
