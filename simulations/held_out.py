"""The held-out rows that a suite tries a model on."""

from dataclasses import dataclass

import numpy as np

from engine.protocol import Refused
from engine.rows import read_rows
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

    def labelled_matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """Features [rows, features] and class positions int64 [rows]; a class that the model does
        not know is -1, which equals no prediction.

        Raises Refused where the dataset has no discrete label or no split.
        """
        signature = self.subject.signature
        if not self.files or self.label is None or not signature.classes:
            raise Refused(
                f"the suite of {self.simulation} needs held-out rows with a discrete label; the "
                f"dataset of {self.model} has none: declare label and split"
            )
        table = read_rows(self.files, [*signature.features, self.label])
        columns = [
            table.column(name).to_numpy().astype(signature.input.dtype)
            for name in signature.features
        ]
        position = {name: index for index, name in enumerate(signature.classes)}
        labels = [position.get(str(value), -1) for value in table.column(self.label).to_pylist()]
        return np.stack(columns, axis=1), np.array(labels, np.int64)
