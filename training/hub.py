"""Fine-tuning of image classifiers from the Hugging Face hub, or from a folder or bucket laid out
like it.

Shapes: B batch, F features (pixels of a square grey image), C classes.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForImageClassification

from training import vision
from training.pretrained import network_of, place_of, require_kind

EXPECTED = "a model that classifies images, such as a vit, resnet or convnext"


class Hyperparameters(vision.Hyperparameters):
    """What may be declared for `train`."""

    pretrained: str
    """A model of the hub, a folder that begins with `./` or `/`, or `s3://BUCKET/FOLDER`."""
    revision: str | None = None
    """The model's commit."""


class Pretrained(nn.Module):
    """A pretrained image classifier over rows of grey pixels; gives logits [B, C]."""

    def __init__(
        self, pixels: int, classes: int, low: float, high: float, *, name: str, revision: str | None
    ) -> None:
        super().__init__()
        self.side = round(pixels**0.5)
        if self.side * self.side != pixels:
            raise ValueError(f"got rows of {pixels} features, expected a square number of pixels")
        self.network = network_of(
            AutoModelForImageClassification,
            name,
            revision,
            num_labels=classes,
            ignore_mismatched_sizes=True,
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
    name = place_of(settings.pretrained)
    require_kind(AutoModelForImageClassification, name, settings.revision, EXPECTED)
    vision.learn(config, partial(Pretrained, name=name, revision=settings.revision))


def _size(config: Any) -> tuple[int, int]:
    size = getattr(config, "image_size", 224)
    return (size, size) if isinstance(size, int) else (size[0], size[1])
