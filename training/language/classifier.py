"""Fine-tuning of text classifiers, and of networks that give a number for a text.

Shapes: B rows, C classes.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForSequenceClassification

from engine.artefact import ModelNotes
from engine.runtime import networks
from engine.runtime.runtimes.transformers import INPUT, SCALE, TextClassifier
from engine.task_metrics import metrics_of
from training.contract import DatasetFiles
from training.language import fitting, settings
from training.language.objective import Objective
from training.pretrained import place_of, require_kind
from training.runtimes.targets.transformers import text_column
from training.table_rows import Table

EXPECTED = "a model that reads texts, such as a bert, roberta or modernbert"
SHOWN = {"classification": ("log_loss", "accuracy"), "regression": ("rmse", "r2")}
"""Metrics of the validation rows."""


class Hyperparameters(settings.Hyperparameters):
    """What may be declared for `train`."""

    column: str | None = None
    """Column with the text; needed where the dataset has several of text."""


def train(config: dict[str, Any]) -> None:
    """Fine-tune a pretrained network to name the class of a text, or its number; reports the loss
    and the metrics of the validation rows every epoch.

    Hyperparameters: the fields of `Hyperparameters`.
    """
    wanted = Hyperparameters.model_validate(config)
    name = place_of(wanted.pretrained)
    require_kind(AutoModelForSequenceClassification, name, wanted.revision, EXPECTED)
    fitting.fit(Classes(config["dataset"], wanted, name), wanted, config["seed"])


class Classes(Objective):
    """The labels of texts."""

    def __init__(self, dataset: dict[str, Any], wanted: Hyperparameters, name: str) -> None:
        files = DatasetFiles.model_validate(dict(dataset))
        given = {INPUT: [wanted.column]} if wanted.column else {}
        column = text_column(files, ModelNotes(inputs=given))
        columns = [c for c in dataset["columns"] if c["name"] == column]
        self._table = Table({**dataset, "columns": [{**columns[0], "kind": "text"}]})
        self._task = self._table.task
        super().__init__(
            AutoModelForSequenceClassification,
            name,
            wanted,
            column,
            # A head for other classes is begun anew.
            ignore_mismatched_sizes=True,
            **_labels(self._table.classes),
        )
        if self.tokenizer.pad_token_id is not None:
            self.network.config.pad_token_id = self.tokenizer.pad_token_id
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

    def loss(self, network: nn.Module, chosen: list[int]) -> torch.Tensor:
        """Cross-entropy of the classes or squared error of the numbers, by the rows' weights."""
        device = next(network.parameters()).device
        batch = [self._tokens[row] for row in chosen]
        given = networks.padded(batch, self.tokenizer, device.type)
        logits_BC = network(**given).logits.float()
        targets, weights = self._targets[chosen].to(device), self._weights[chosen].to(device)
        if self._table.classes:
            losses = functional.cross_entropy(logits_BC, targets, reduction="none")
        else:
            losses = (logits_BC.squeeze(1) - targets) ** 2
        return (losses * weights).sum()

    def parts(self, chosen: list[int]) -> float:
        """Number of the rows, by their weights."""
        return float(self._weights[chosen].sum())

    def measured(self) -> dict[str, float]:
        """Loss and score of the validation rows, each of which counts once."""
        if self._checked is None:
            return {}
        asked = TextClassifier(self.network, self.tokenizer)
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

    def _numbers(self, text: str) -> list[int]:
        return networks.tokens_of(self.tokenizer, self.network.config, text)


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
