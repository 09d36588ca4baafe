"""Fine-tuning of language models to write a text after another."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn
from transformers import AutoModelForCausalLM

from engine.artefact import NOTES, ModelNotes
from engine.protocol import Refused
from engine.rows import read_rows
from engine.runtime import networks
from engine.runtime.runtimes.transformers import INPUT, RUNTIME, Writer, continued, losses_of
from engine.task_metrics import metrics_of
from training.contract import DatasetFiles
from training.language import fitting
from training.pretrained import network_of, place_of, require_kind, tokenizer_of
from training.runtimes.targets.transformers import text_column

EXPECTED = "a model that writes texts, such as a llama, qwen, gemma or gpt2"
TASK = "text-generation"


class Hyperparameters(fitting.Hyperparameters):
    """What may be declared for `train`."""

    column: str | None = None
    """Column with the text that is given; needed where the dataset has several of text."""
    written: int = Field(default=64, ge=1)
    """Tokens that the model writes at most."""


def train(config: dict[str, Any]) -> None:
    """Fine-tune a pretrained language model to write the label after the text of its row; reports
    the loss of a token and the perplexity of the validation rows every epoch.

    Hyperparameters: the fields of `Hyperparameters`.
    """
    settings = Hyperparameters.model_validate(config)
    name = place_of(settings.pretrained)
    require_kind(AutoModelForCausalLM, name, settings.revision, EXPECTED)
    fitting.fit(Texts(config["dataset"], settings, name), settings, config["seed"])


class Texts(fitting.Objective):
    """What follows given texts."""

    def __init__(self, dataset: dict[str, Any], settings: Hyperparameters, name: str) -> None:
        files = DatasetFiles.model_validate(dict(dataset))
        if files.task != TASK:
            raise Refused(
                f"the dataset {files.name} is for {files.task}, expected texts to write: declare "
                f"task: {TASK} and as its label the column of these texts"
            )
        given = {INPUT: [settings.column]} if settings.column else {}
        self._column = text_column(files, ModelNotes(inputs=given))
        self._dataset = files
        self._tokenizer = tokenizer_of(name, settings.revision)
        self.network = network_of(AutoModelForCausalLM, name, settings.revision)
        self.network.generation_config.max_new_tokens = settings.written
        if settings.longest:
            self._tokenizer.model_max_length = settings.longest
        longest = networks.longest_of(self._tokenizer, self.network.config)
        if settings.written >= longest:
            raise Refused(
                f"the model takes {longest} tokens, expected more than the {settings.written} that "
                "it is to write; declare fewer (written)"
            )
        pairs = zip(*self._pairs(files.train), strict=True)
        self._rows = [continued(self._tokenizer, longest, *pair) for pair in pairs]
        self._weights = self._weights_of(files)
        self._checked = self._pairs(files.validation) if files.validation else None

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self._rows)

    def loss(self, network: nn.Module, chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Negative log-likelihood of the tokens that follow, by the rows' weights, and the number
        of these."""
        device = next(network.parameters()).device.type
        losses = losses_of(network, self._tokenizer, [self._rows[row] for row in chosen], device)
        weighted = losses * self._weights[chosen].to(device)[:, None]
        return weighted[:, 0].sum(), weighted[:, 1].sum()

    def measured(self) -> dict[str, float]:
        """Perplexity of the validation rows, each of which counts once."""
        if self._checked is None:
            return {}
        before, texts = self._checked
        given = {INPUT: np.array(before, object)[:, None]}
        asked = Writer(self.network, self._tokenizer)
        found = asked.likelihoods(given, np.array(texts, object))
        metric = metrics_of(TASK)["perplexity"]
        return {"validation_perplexity": metric.of(np.empty(len(texts)), found)}

    def save(self, folder: Path) -> None:
        """The network, its tokenizer, and which column it reads."""
        self.network.save_pretrained(folder / RUNTIME.model)
        self._tokenizer.save_pretrained(folder / RUNTIME.model)
        notes = ModelNotes(inputs={INPUT: [self._column]})
        (folder / NOTES).write_text(notes.model_dump_json())

    def _pairs(self, files: list[str]) -> tuple[list[str], list[str]]:
        """Texts that are given, and those that follow; a missing one is empty."""
        label = self._dataset.label or ""
        table = read_rows(files, [self._column, label])
        before, texts = (
            [text or "" for text in table.column(name).to_pylist()]
            for name in (self._column, label)
        )
        return before, texts

    def _weights_of(self, files: DatasetFiles) -> torch.Tensor:
        if files.weight is None:
            return torch.ones(len(self._rows))
        column = read_rows(files.train, [files.weight]).column(0)
        return torch.tensor(column.to_numpy(), dtype=torch.float32)
