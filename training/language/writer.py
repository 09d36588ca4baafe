"""Fine-tuning of language models to write a text after another, to answer in a conversation, or to
go on with a text."""

from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn
from transformers import AutoModelForCausalLM

from engine.artefact import ModelNotes
from engine.protocol import Refused
from engine.rows import read_rows
from engine.runtime import networks
from engine.runtime.conversations import ANSWER, READS
from engine.runtime.runtimes.transformers import INPUT, Writer
from engine.task_metrics import metrics_of
from training.contract import DatasetFiles
from training.language import fitting, settings
from training.language.examples import Row, loss_of, packed, require_apart
from training.language.forms import Chat, Following
from training.language.objective import Objective
from training.pretrained import place_of, require_kind
from training.runtimes.targets.transformers import text_column

EXPECTED = "a model that writes texts, such as a llama, qwen, gemma or gpt2"
TASK = "text-generation"
MEASURED = "validation_perplexity"
BEFORE = "validation_perplexity_before"


class Hyperparameters(settings.Hyperparameters):
    """What may be declared for `train`."""

    column: str | None = None
    """Column with the text that is given; needed where the dataset has several of text."""
    written: int = Field(default=64, ge=1)
    """Tokens that the model writes at most."""
    pack: bool = False
    """Whether a row of tokens has several texts, which do not see each other, up to `longest`:
    less padding. A batch then has more texts."""


def train(config: dict[str, Any]) -> None:
    """Fine-tune a pretrained language model to write the label after the text of its row, or the
    assistant's answers in conversations; reports the loss of a token and the perplexity of the
    validation rows every epoch, and their perplexity before.

    Hyperparameters: the fields of `Hyperparameters`.
    """
    wanted = Hyperparameters.model_validate(config)
    name = place_of(wanted.pretrained)
    require_kind(AutoModelForCausalLM, name, wanted.revision, EXPECTED)
    fitting.fit(Texts(config["dataset"], wanted, name), wanted, config["seed"])


class Texts(Objective):
    """What follows given texts."""

    def __init__(self, dataset: dict[str, Any], wanted: Hyperparameters, name: str) -> None:
        files = DatasetFiles.model_validate(dict(dataset))
        if files.task != TASK:
            raise Refused(
                f"the dataset {files.name} is for {files.task}, expected texts to write: declare "
                f"task: {TASK} and as its label the column of these texts"
            )
        given = {INPUT: [wanted.column]} if wanted.column else {}
        column = text_column(files, ModelNotes(inputs=given))
        super().__init__(AutoModelForCausalLM, name, wanted, column)
        self._dataset = files
        is_chat = files.label == f"{column}{ANSWER}"
        form = (Chat if is_chat else Following)(self.tokenizer)
        if is_chat:
            self.tokenizer.init_kwargs[READS] = True
        self.network.generation_config.max_new_tokens = wanted.written
        longest = self.longest
        if wanted.written >= longest:
            raise Refused(
                f"the model takes {longest} tokens, expected more than the {wanted.written} that "
                "it is to write; declare fewer (written)"
            )
        rows = zip(*self._pairs(files.train), self._weights_of(files), strict=True)
        examples = [each for row in rows for each in form.examples(*row, longest)]
        self._rows: list[Row] = [[each] for each in examples]
        if wanted.pack and len(examples) > 1:
            kind = self.network.config.model_type
            require_apart(self.network.eval(), examples, longest, kind)
            self._rows = packed(examples, longest)
        self._checked = self._pairs(files.validation) if files.validation else None

    @property
    def rows(self) -> int:
        """Number of rows of tokens."""
        return len(self._rows)

    def loss(self, network: nn.Module, chosen: list[int]) -> torch.Tensor:
        """Negative log-likelihood of the tokens that are learned, by the rows' weights."""
        rows = [self._rows[row] for row in chosen]
        device = next(network.parameters()).device
        return loss_of(network, rows, networks.padding_of(self.tokenizer), device)

    def parts(self, chosen: list[int]) -> float:
        """Number of these tokens, by the rows' weights."""
        return sum(example.parts for row in chosen for example in self._rows[row])

    def measured(self) -> dict[str, float]:
        """Perplexity of the validation rows, each of which counts once."""
        return {} if self._checked is None else {MEASURED: self._perplexity()}

    def measured_before(self) -> dict[str, float]:
        """Perplexity of the validation rows by the network as it was pretrained."""
        return {} if self._checked is None else {BEFORE: self._perplexity()}

    def _perplexity(self) -> float:
        assert self._checked is not None
        before, texts = self._checked
        given = {INPUT: np.array(before, object)[:, None]}
        asked = Writer(self.network, self.tokenizer)
        found = asked.likelihoods(given, np.array(texts, object))
        return metrics_of(TASK)["perplexity"].of(np.empty(len(texts)), found)

    def _pairs(self, files: list[str]) -> tuple[list[str], list[str]]:
        """Texts that are given, and those that follow; a missing one is empty."""
        label = self._dataset.label or ""
        table = read_rows(files, [self._column, label])
        before, texts = (
            [text or "" for text in table.column(name).to_pylist()]
            for name in (self._column, label)
        )
        return before, texts

    def _weights_of(self, files: DatasetFiles) -> list[float]:
        if files.weight is None:
            return [1.0] * len(read_rows(files.train, [files.label or ""]))
        return read_rows(files.train, [files.weight]).column(0).cast("float64").to_pylist()
