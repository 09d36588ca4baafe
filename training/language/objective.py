"""What a pretrained network of texts is fitted to."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.artefact import NOTES, ModelNotes
from engine.runtime import networks
from engine.runtime.runtimes.transformers import INPUT, RUNTIME
from training.language.adapters import merged
from training.language.settings import Hyperparameters
from training.pretrained import dtype_of, network_of, require_fit, tokenizer_of


class Objective(ABC):
    """Rows to learn from, and how wrong a network is about them."""

    network: Any
    """A module of PyTorch, of any class of transformers."""

    def __init__(
        self, kind: Any, name: str, settings: Hyperparameters, column: str, **more: Any
    ) -> None:
        """Loads the network by an Auto class of transformers, with its tokenizer, which reads the
        column. Raises Refused where these do not fit."""
        self._column = column
        self.tokenizer = tokenizer_of(name, settings.revision)
        self._kept = dtype_of(name, settings.revision)
        # What is learned is too small a change for the few digits of bfloat16.
        is_frozen = settings.lora is not None and computes_in_bfloat16(settings)
        dtype = self._kept if is_frozen else torch.float32
        self.network = network_of(kind, name, settings.revision, dtype=dtype, **more)
        require_fit(self.tokenizer, self.network, name)
        if settings.longest:
            self.tokenizer.model_max_length = settings.longest
        self.longest = networks.longest_of(self.tokenizer, self.network.config)

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of rows to learn from."""

    @abstractmethod
    def loss(self, network: nn.Module, chosen: list[int]) -> torch.Tensor:
        """Sum of the losses of the chosen rows."""

    @abstractmethod
    def parts(self, chosen: list[int]) -> float:
        """What the sum of the losses of the chosen rows is divided by."""

    @abstractmethod
    def measured(self) -> dict[str, float]:
        """Metrics of the validation rows; none where there are none."""

    def measured_before(self) -> dict[str, float]:
        """Metrics of the validation rows before anything is learned, by names of their own."""
        return {}

    def save(self, folder: Path) -> None:
        """Write the model as a runtime takes it: the network with what was learned, its numbers as
        the pretrained one has them; its tokenizer; and which column it reads."""
        merged(self.network).to(self._kept).save_pretrained(folder / RUNTIME.model)
        self.tokenizer.save_pretrained(folder / RUNTIME.model)
        notes = ModelNotes(inputs={INPUT: [self._column]})
        (folder / NOTES).write_text(notes.model_dump_json())


def computes_in_bfloat16(settings: Hyperparameters) -> bool:
    """Whether the network computes in bfloat16 here."""
    if settings.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return settings.precision == "bfloat16"
