"""The held-out rows that a suite tries a model on."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.protocol import Refused
from engine.rows import columns_of, read_rows
from engine.runtime.tensors import Columns
from simulations.subject import Subject


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
        """The columns that the model takes, and the label. Raises Refused."""
        if not self.files or self.label is None:
            raise self._without("a label")
        return read_rows(self.files, [*self.subject.signature.features, self.label])

    def labelled_columns(self) -> tuple[Columns, np.ndarray]:
        """Values by column, and class positions int64 [rows], numbers float64 [rows], or texts
        [rows].

        A class that the model does not know is -1. Raises Refused where the model takes no columns.
        """
        table, signature = self.table(), self.subject.signature
        if not signature.columns:
            raise Refused(
                f"the suite of {self.simulation} varies columns, and {self.model} takes tensors of "
                f"shape {signature.inputs[0].shape} that are no columns; declare another suite"
            )
        return columns_of(table, signature.columns), self.targets(table)

    def labelled_matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """Features [rows, features] and class positions int64 [rows]; a class that the model does
        not know is -1, which equals no prediction.

        Raises Refused where the dataset has no discrete label or no split, or the model takes text
        or several inputs.
        """
        taken = self.subject.signature.matrix
        if not self.files or self.label is None or not self.subject.signature.classes:
            raise self._without("a discrete label")
        if taken is None:
            raise Refused(
                f"the suite of {self.simulation} varies rows of numbers, and {self.model} takes "
                "text or several inputs; declare a suite of the kind tabular"
            )
        columns, targets = self.labelled_columns()
        return np.stack([*columns.values()], axis=1).astype(taken.dtype), targets

    def targets(self, table: pa.Table) -> np.ndarray:
        """Class positions int64 [rows], numbers float64 [rows], or texts [rows]."""
        assert self.label is not None
        labels = table.column(self.label)
        classes = self.subject.signature.classes
        if self.subject.signature.task == "text-generation":
            return labels.to_numpy(zero_copy_only=False)
        if not classes:
            return labels.to_numpy().astype(np.float64)
        position = {name: index for index, name in enumerate(classes)}
        return np.array([position.get(str(value), -1) for value in labels.to_pylist()], np.int64)

    def _without(self, what: str) -> Refused:
        return Refused(
            f"the suite of {self.simulation} needs held-out rows with {what}; the dataset of "
            f"{self.model} has none: declare label and split"
        )
