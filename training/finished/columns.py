"""The columns of the dataset that a finished model was fitted with, and rows of them."""

from collections.abc import Sequence

import numpy as np

from engine.artefact import Column
from engine.protocol import Refused
from engine.rows import columns_of, read_first
from training.contract import DatasetFiles

COMPARED = 2_000
"""Training rows on which a library and ONNX Runtime must agree."""
MATRIX = "rows"
"""Input of a model that takes all columns as one matrix."""


def fitted_columns(
    file: str, names: Sequence[str] | None, count: int | None, dataset: DatasetFiles
) -> list[Column]:
    """The dataset's columns in the order in which the model was fitted with them: by their names
    where the file says them, else its columns of numbers, which must be as many.

    Raises Refused.
    """
    known = {column.name: column for column in dataset.columns}
    wanted = list(names) if names is not None else dataset.features
    missing = [each for each in wanted if each not in known]
    if missing:
        raise Refused(
            f"{file} was fitted with the column {missing[0]!r}, expected columns of the dataset: "
            f"{', '.join(known)}"
        )
    if count is not None and count != len(wanted):
        raise Refused(
            f"{file} was fitted with {count} columns, and the dataset has {len(wanted)} of "
            f"numbers: {', '.join(wanted[:20])}; fit it with a DataFrame, whose names it keeps"
        )
    return [known[each] for each in wanted]


def first_rows(dataset: DatasetFiles, columns: list[Column]) -> dict[str, np.ndarray]:
    """Some training rows, by column, and behind them rows with every category that the dataset has:
    requests may have it, so the model must take it."""
    table = read_first(dataset.train, [column.name for column in columns], COMPARED)
    rows = columns_of(table, columns)
    most = max((len(column.categories) for column in columns), default=0)
    again = np.arange(most) % len(table)
    for column in columns:
        values = rows[column.name]
        more = values[again]
        if column.categories:
            more = np.resize(np.array(column.categories, object), most)
        rows[column.name] = np.concatenate([values, more])
    return rows


def as_matrix(rows: dict[str, np.ndarray]) -> np.ndarray:
    """The columns side by side [rows, columns]."""
    return np.stack(list(rows.values()), axis=1)
