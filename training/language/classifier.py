"""Fine-tuning of text classifiers, and of networks that give a number for a text.

Shapes: B rows, C classes.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForSequenceClassification

from engine.artefact import NOTES, ModelNotes
from engine.runtime import networks
from engine.runtime.runtimes.transformers import INPUT, RUNTIME, SCALE, TextClassifier
from engine.task_metrics import metrics_of
from training.contract import DatasetFiles
from training.language import fitting
from training.pretrained import network_of, place_of, require_kind, tokenizer_of
from training.runtimes.targets.transformers import text_column
from training.table_rows import Table

EXPECTED = "a model that reads texts, such as a bert, roberta or modernbert"
SHOWN = {"classification": ("log_loss", "accuracy"), "regression": ("rmse", "r2")}
"""Metrics of the validation rows."""


class Hyperparameters(fitting.Hyperparameters):
    """What may be declared for `train`."""

    column: str | None = None
    """Column with the text; needed where the dataset has several of text."""


def train(config: dict[str, Any]) -> None:
    """Fine-tune a pretrained network to name the class of a text, or its number; reports the loss
    and the metrics of the validation rows every epoch.

    Hyperparameters: the fields of `Hyperparameters`.
    """
    settings = Hyperparameters.model_validate(config)
    name = place_of(settings.pretrained)
    require_kind(AutoModelForSequenceClassification, name, settings.revision, EXPECTED)
    fitting.fit(Classes(config["dataset"], settings, name), settings, config["seed"])


class Classes(fitting.Objective):
    """The labels of texts."""

    def __init__(self, dataset: dict[str, Any], settings: Hyperparameters, name: str) -> None:
        files = DatasetFiles.model_validate(dict(dataset))
        given = {INPUT: [settings.column]} if settings.column else {}
        self._column = text_column(files, ModelNotes(inputs=given))
        columns = [c for c in dataset["columns"] if c["name"] == self._column]
        self._table = Table({**dataset, "columns": [{**columns[0], "kind": "text"}]})
        self._tokenizer = tokenizer_of(name, settings.revision)
        self._task = self._table.task
        self.network = network_of(
            AutoModelForSequenceClassification,
            name,
            settings.revision,
            # A head for other classes is begun anew.
            ignore_mismatched_sizes=True,
            **_labels(self._table.classes),
        )
        if self._tokenizer.pad_token_id is not None:
            self.network.config.pad_token_id = self._tokenizer.pad_token_id
        if settings.longest:
            self._tokenizer.model_max_length = settings.longest
        rows = self._table.rows("train")
        self._tokens = [self._numbers(text) for text in rows.rows.texts[0]]
        if self._table.classes:
            self._targets = torch.as_tensor(rows.targets)
        else:
            # Networks learn numbers of the size of one.
            mean, deviation = rows.targets.mean(), rows.targets.std() or 1.0
            self._targets = torch.as_tensor((rows.targets - mean) / deviation).float()
            setattr(self.network.config, SCALE, [float(mean), float(deviation)])
        weights = rows.weights
        self._weights = torch.ones(len(self._tokens)) if weights is None else torch.tensor(weights)
        self._checked = self._table.rows("validation") if dataset.get("validation") else None

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self._tokens)

    def loss(self, network: nn.Module, chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy of the classes or squared error of the numbers, by the rows' weights."""
        device = next(network.parameters()).device
        batch = [self._tokens[row] for row in chosen]
        given = networks.padded(batch, self._tokenizer, device.type)
        logits_BC = network(**given).logits.float()
        targets, weights = self._targets[chosen].to(device), self._weights[chosen].to(device)
        if self._table.classes:
            losses = functional.cross_entropy(logits_BC, targets, reduction="none")
        else:
            losses = (logits_BC.squeeze(1) - targets) ** 2
        return (losses * weights).sum(), weights.sum()

    def measured(self) -> dict[str, float]:
        """Loss and score of the validation rows, each of which counts once."""
        if self._checked is None:
            return {}
        asked = TextClassifier(self.network, self._tokenizer)
        scores = asked.answers({INPUT: self._checked.rows.texts[0]})
        if self._table.classes:
            shares = torch.from_numpy(scores).double().softmax(1).numpy()
        else:
            shares = scores.reshape(-1)
        known = metrics_of(self._task)
        return {
            f"validation_{name}": known[name].of(self._checked.targets, shares)
            for name in SHOWN[self._task]
        }

    def save(self, folder: Path) -> None:
        """The network, its tokenizer, and which column it reads."""
        self.network.save_pretrained(folder / RUNTIME.model)
        self._tokenizer.save_pretrained(folder / RUNTIME.model)
        notes = ModelNotes(inputs={INPUT: [self._column]})
        (folder / NOTES).write_text(notes.model_dump_json())

    def _numbers(self, text: str) -> list[int]:
        return networks.tokens_of(self._tokenizer, self.network.config, text)


def _labels(classes: list[str]) -> dict[str, Any]:
    """What the network is told of its answers."""
    if not classes:
        return {"num_labels": 1}
    names = dict(enumerate(classes))
    return {
        "num_labels": len(classes),
        "id2label": names,
        "label2id": {name: position for position, name in names.items()},
    }
