"""What is recorded of a dataset version, and of the declaration that it was made by."""

import hashlib
from typing import Any

from engine.artefact import Column, SplitContent
from engine.protocol import Contract
from projects.dataset import Dataset, JudgedTask
from resources.datasets.profiling import Profile
from resources.datasets.remarks import Remark

SHAPING = {
    *("source", "label", "task", "image", "read", "split", "watch", "features", "weight"),
    *("from_", "sql", "transform", "predict"),
}
"""Parts of a declaration that shape the rows of a version, or what is learned from them."""


class DatasetVersion(Contract):
    """One immutable version of a dataset, as the declaration that it was last made by reads it."""

    project: str
    name: str
    version: str
    """SHA-256 over the hashes of the blocks of the rows, their splits included."""
    uri: str
    """Folder of what belongs to this version alone."""
    train: list[str]
    test: list[str]
    """Parquet files of each split, which other versions of the dataset may name too."""
    validation: list[str] = []
    """Those of the validation split; empty where none is declared."""
    sample: str | None = None
    """Parquet file with a random sample of the training rows; None in versions that were written
    without, and where no row is learned from."""
    features: list[str]
    """Columns of numbers and booleans."""
    columns: list[Column] = []
    """Columns that models may learn from; those of versions that were written without are the
    features."""
    label: str | None
    weight: str | None = None
    """Column that says how much a row counts in training."""
    classes: list[str]
    bytes: int
    """Of all its files, those included that other versions name too."""
    profile: Profile
    task: JudgedTask | None = None
    """What is predicted; None without a label."""
    task_reason: str = ""
    """Why it is this task: `declared`, or what the values of the label are like."""
    splits: dict[str, SplitContent] = {}
    """By `train`, `test` and, where it is declared, `validation`; empty in versions that were
    written without."""
    remarks: list[Remark] = []
    """What was left out or converted."""
    source: str = ""
    """The declared source; empty in versions that were written without."""
    declaration_digest: str = ""
    """`declaration_digest` of the declaration; empty in versions that were written without."""
    code_revision: str = ""
    """Revision of the code that read the rows."""

    @property
    def of_split(self) -> dict[str, list[str]]:
        """Parquet files by the name of their split."""
        return {"train": self.train, "test": self.test, "validation": self.validation}

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.profile.rows

    def model_post_init(self, context: Any) -> None:
        """Versions that were written without a task had classes or a number to predict, and learned
        from their numbers."""
        if self.task is None and self.label is not None:
            task = "classification" if self.classes else "regression"
            object.__setattr__(self, "task", task)
        if not self.columns and self.features:
            numbers = [Column(name=name, kind="number", nullable=True) for name in self.features]
            object.__setattr__(self, "columns", numbers)


def declaration_digest(declared: Dataset) -> str:
    """SHA-256 over the parts of the declaration that shape rows or what is learned from them."""
    shown = declared.model_dump_json(include=SHAPING, exclude_defaults=True)
    return hashlib.sha256(shown.encode()).hexdigest()
