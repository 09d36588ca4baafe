"""The held-out rows that a suite tries a model on, of which a batch is in memory at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.protocol import Refused
from engine.rows import columns_of, count_rows, read_batches, read_rows, targets_of
from engine.runtime.tensors import Columns
from simulations.subject import Subject

Labelled = tuple[Columns, np.ndarray]
"""Values by column, and class positions int64 [rows], numbers float64 [rows] or texts [rows]; a
class that the model does not know is -1."""
LabelledMatrix = tuple[np.ndarray, np.ndarray]
"""Features [rows, features] and class positions int64 [rows]; a class that the model does not know
is -1, which equals no prediction."""


@dataclass(frozen=True)
class HeldOut:
    """Rows of the test split of the dataset version that the model learned from."""

    subject: Subject
    files: list[str]
    """Parquet files."""
    label: str | None
    simulation: str
    model: str

    def table(self) -> pa.Table:
        """The columns that the model takes, and the label, of all rows. Raises Refused."""
        return read_rows(self.files, self._names())

    def truth(self) -> np.ndarray:
        """Class positions int64 [rows], numbers float64 [rows] or texts [rows], of all rows. Raises
        Refused."""
        (*_, label) = self._names()
        return self._targets(read_rows(self.files, [label]).column(label))

    def batches(self) -> Iterator[Labelled]:
        """All rows in batches. Raises Refused where the model takes no columns."""
        self._require_columns()
        for batch in read_batches(self.files, self._names()):
            yield self._labelled(batch)

    def first(self, most: int) -> Labelled:
        """At most so many rows, from the first on. Raises Refused as `batches`."""
        return self._chosen(np.arange(min(most, count_rows(self._files()))))

    def drawn(self, most: int, seed: int) -> Labelled:
        """At most so many rows, drawn by the seed, in their order. Raises Refused as `batches`."""
        rows = count_rows(self._files())
        if rows <= most:
            return self.first(rows)
        drawn = np.random.default_rng(seed).choice(rows, most, replace=False)
        return self._chosen(np.sort(drawn))

    def matrices(self) -> Iterator[LabelledMatrix]:
        """All rows in batches of features.

        Raises Refused where the dataset has no discrete label or no split, or the model takes text
        or several inputs.
        """
        self._require_matrix()
        for columns, labels in self.batches():
            yield self._matrix(columns), labels

    def first_matrix(self, most: int) -> LabelledMatrix:
        """At most so many rows, from the first on. Raises Refused as `matrices`."""
        self._require_matrix()
        columns, labels = self.first(most)
        return self._matrix(columns), labels

    def _chosen(self, rows: np.ndarray) -> Labelled:
        """The rows at the positions, which ascend."""
        self._require_columns()
        start, taken = 0, []
        for batch in read_batches(self.files, self._names()):
            end = start + batch.num_rows
            within = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
            taken.append(batch.take(pa.array(within - start)))
            start = end
            if len(rows) and end > rows[-1]:
                break
        return self._labelled(pa.Table.from_batches(taken))

    def _labelled(self, rows: pa.Table | pa.RecordBatch) -> Labelled:
        targets = self._targets(rows.column(self.label or ""))
        return columns_of(rows, self.subject.signature.columns), targets

    def _targets(self, labels: pa.ChunkedArray | pa.Array) -> np.ndarray:
        if self.subject.signature.task == "text-generation":
            return labels.to_numpy(zero_copy_only=False)
        return targets_of(labels, self.subject.signature.classes)

    def _matrix(self, columns: Columns) -> np.ndarray:
        taken = self.subject.signature.matrix
        assert taken is not None
        return np.stack([*columns.values()], axis=1).astype(taken.dtype)

    def _files(self) -> list[str]:
        self._names()
        return self.files

    def _names(self) -> list[str]:
        """The columns that the model takes, and the label. Raises Refused."""
        if not self.files or self.label is None:
            raise self._without("a label")
        return [*self.subject.signature.features, self.label]

    def _require_columns(self) -> None:
        signature = self.subject.signature
        self._names()
        if not signature.columns:
            raise Refused(
                f"the suite of {self.simulation} varies columns, and {self.model} takes tensors of "
                f"shape {signature.inputs[0].shape} that are no columns; declare another suite"
            )

    def _require_matrix(self) -> None:
        if not self.files or self.label is None or not self.subject.signature.classes:
            raise self._without("a discrete label")
        if self.subject.signature.matrix is None:
            raise Refused(
                f"the suite of {self.simulation} varies rows of numbers, and {self.model} takes "
                "text or several inputs; declare a suite of the kind tabular"
            )

    def _without(self, what: str) -> Refused:
        return Refused(
            f"the suite of {self.simulation} needs held-out rows with {what}; the dataset of "
            f"{self.model} has none: declare label and split"
        )
