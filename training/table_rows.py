"""The rows of a table as learners of tables take them. Shapes: N rows, F numbers, G categories."""

from typing import Any, NamedTuple

import numpy as np

from engine.artefact import Column, ModelNotes
from engine.rows import columns_of, count_rows, read_batches
from engine.runtime.tensors import TEXT


class Rows:
    """Columns by position, as scikit-learn and the exported model take them."""

    def __init__(
        self, numbers: np.ndarray, categories: np.ndarray, texts: list[np.ndarray]
    ) -> None:
        self.numbers, self.categories, self.texts = numbers, categories, texts

    def take(self, chosen: np.ndarray) -> "Rows":
        """The chosen rows."""
        return Rows(
            self.numbers[chosen], self.categories[chosen], [text[chosen] for text in self.texts]
        )

    def frame(self) -> Any:
        """All columns in a DataFrame: numbers, categories, texts."""
        import pandas as pd

        parts = [self.numbers, self.categories, *(text[:, None] for text in self.texts)]
        width = sum(part.shape[1] for part in parts)
        frame = pd.concat([pd.DataFrame(part) for part in parts], axis=1)
        return frame.set_axis([f"c{i}" for i in range(width)], axis=1)

    def tensors(self) -> dict[str, np.ndarray]:
        """Tensors of the exported model, those without a column left out."""
        named = {"numbers": self.numbers, "categories": self.categories}
        named |= {f"text_{i}": text[:, None] for i, text in enumerate(self.texts)}
        return {name: tensor for name, tensor in named.items() if tensor.shape[1]}


class Examples(NamedTuple):
    """Rows with what is to be learned of them."""

    rows: Rows
    targets: np.ndarray
    """Class positions int64 [N], or numbers float64 [N]."""
    weights: np.ndarray | None
    """How much each row counts, float64 [N]."""

    def take(self, chosen: np.ndarray) -> "Examples":
        """The chosen rows."""
        weights = None if self.weights is None else self.weights[chosen]
        return Examples(self.rows.take(chosen), self.targets[chosen], weights)


class Table:
    """The columns of the dataset by what becomes of them."""

    def __init__(self, dataset: dict[str, Any]) -> None:
        self.dataset = dataset
        columns = [Column.model_validate(each) for each in dataset["columns"]]
        if dataset.get("task") == "text-generation":
            raise ValueError(
                "the dataset is of texts to write (task: text-generation), expected classes or "
                "numbers to predict: declare training.language.writer:train"
            )
        if not columns:
            raise ValueError("the dataset has no column but its label, expected features")
        self.numbers = [c for c in columns if c.kind not in TEXT]
        self.categories = [c for c in columns if c.kind == "category"]
        self.texts = [c for c in columns if c.kind == "text"]
        self.classes: list[str] = dataset["classes"]
        self.task = "classification" if self.classes else "regression"

    def rows(self, split: str) -> "Examples":
        """The rows of the split, read in parts so that they are in memory once."""
        files = self.dataset[split]
        columns = [*self.numbers, *self.categories, *self.texts]
        label, weight = self.dataset["label"], self.dataset.get("weight")
        names = {*(c.name for c in columns), label, *([weight] if weight else [])}
        count = count_rows(files)
        rows = Rows(
            np.empty((count, len(self.numbers)), np.float32),
            np.empty((count, len(self.categories)), object),
            [np.empty(count, object) for _ in self.texts],
        )
        targets = np.empty(count, np.int64 if self.classes else np.float64)
        weights = np.empty(count, np.float64) if weight else None
        done = 0
        for batch in read_batches(files, sorted(names)):
            part = slice(done, done + batch.num_rows)
            self._fill(rows, part, columns_of(batch, columns))
            targets[part] = self._targets(batch.column(label))
            if weights is not None:
                weights[part] = batch.column(weight).to_numpy(zero_copy_only=False)
            done = part.stop
        return Examples(rows, targets, weights)

    def _fill(self, rows: "Rows", part: slice, values: dict[str, np.ndarray]) -> None:
        for i, column in enumerate(self.numbers):
            rows.numbers[part, i] = values[column.name]
        for i, column in enumerate(self.categories):
            rows.categories[part, i] = _text(values[column.name])
        for text, column in zip(rows.texts, self.texts, strict=True):
            text[part] = _text(values[column.name])

    def _targets(self, labels: Any) -> np.ndarray:
        if not self.classes:
            return labels.to_numpy(zero_copy_only=False).astype(np.float64)
        # Of few different values: one look-up each, not one a row.
        encoded = labels.dictionary_encode()
        position = {name: index for index, name in enumerate(self.classes)}
        known = np.array([position[str(v)] for v in encoded.dictionary.to_pylist()], np.int64)
        return known[encoded.indices.to_numpy(zero_copy_only=False)]

    def notes(self) -> ModelNotes:
        """Which columns fill which input of the exported model."""
        named = {
            "numbers": [c.name for c in self.numbers],
            "categories": [c.name for c in self.categories],
            **{f"text_{i}": [c.name] for i, c in enumerate(self.texts)},
        }
        return ModelNotes(inputs={name: columns for name, columns in named.items() if columns})


def _text(values: np.ndarray) -> np.ndarray:
    """Texts [N], empty where a value is missing."""
    return np.where(np.equal(values, None), "", values)  # type: ignore[call-overload]
