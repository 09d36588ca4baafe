"""scikit-learn estimators and pipelines that skops has written."""

from pathlib import Path
from typing import Any

import numpy as np

from engine.artefact import ONNX, Column, ModelNotes
from engine.protocol import Refused
from engine.runtime.tensors import TEXT, Tensors, tensors_of
from training.contract import DatasetFiles
from training.finished.columns import MATRIX, as_matrix, first_rows, fitted_columns
from training.finished.format import Described, ModelFormat

SAFE = ("sklearn.", "numpy.", "scipy.")
"""Packages whose types a file may hold."""


class ScikitLearn(ModelFormat):
    """A `.skops` file; its feature steps become part of the exported model."""

    @property
    def expects(self) -> str:
        """What it takes."""
        return "a scikit-learn model of skops (.skops)"

    def recognises(self, place: Path) -> bool:
        """By the end of its name."""
        return place.is_file() and place.suffix.lower() == ".skops"

    def convert(self, place: Path, folder: Path, dataset: DatasetFiles | None) -> Described:
        """The model in ONNX, which takes the columns that it was fitted with."""
        from training.scikit_learn_onnx import as_onnx, input_names, require_same_answers

        if dataset is None:
            raise Refused(f"{place.name} predicts from rows; declare the dataset of the model")
        model = _loaded(place)
        columns = _columns(model, dataset, place.name)
        wanted = _inputs(model, columns)
        exported = as_onnx(model, {name: _tensor(group) for name, group in wanted.items()})
        inputs = dict(zip(input_names(exported), wanted.values(), strict=True))
        names = {name: [column.name for column in group] for name, group in inputs.items()}
        rows = first_rows(dataset, columns)
        frame = _frame(rows, columns) if hasattr(model, "feature_names_in_") else as_matrix(rows)
        require_same_answers(exported, model, frame, _tensors(inputs, rows))
        (folder / ONNX).write_bytes(exported)
        classes = [str(each) for each in getattr(model, "classes_", ())]
        return Described(classes, ModelNotes(inputs=names))


FORMAT = ScikitLearn()


def _loaded(file: Path) -> Any:
    import skops.io

    try:
        kinds = skops.io.get_untrusted_types(file=file)
        foreign = [kind for kind in kinds if not kind.startswith(SAFE)]
        if foreign:
            raise Refused(
                f"{file.name} holds {', '.join(foreign[:8])}, expected types of scikit-learn, "
                "NumPy and SciPy alone: others may run any code. A function of your own belongs "
                "into the dataset (transform: module:function), or into a trainer of yours"
            )
        return skops.io.load(file, trusted=kinds)
    except Refused:
        raise
    # A damaged archive raises whatever its parts do.
    except Exception as error:
        raise Refused(
            f"{file.name} is no file of skops: {type(error).__name__}: {error}"
        ) from error


def _columns(model: Any, dataset: DatasetFiles, name: str) -> list[Column]:
    names = getattr(model, "feature_names_in_", None)
    known = None if names is None else [str(each) for each in names]
    return fitted_columns(name, known, getattr(model, "n_features_in_", None), dataset)


def _inputs(model: Any, columns: list[Column]) -> dict[str, list[Column]]:
    """Columns by input: one for each where a first step tells them apart, else one matrix."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    first = model
    while isinstance(first, Pipeline):
        first = first.steps[0][1]
    if isinstance(first, ColumnTransformer):
        return {column.name: [column] for column in columns}
    return {MATRIX: columns}


def _tensor(columns: list[Column]) -> tuple[str, int]:
    kinds = {"string" if column.kind in TEXT else "float32" for column in columns}
    if len(kinds) > 1:
        raise Refused(
            "the model takes text and numbers in one matrix, expected a ColumnTransformer as its "
            "first step"
        )
    return kinds.pop(), len(columns)


def _tensors(inputs: dict[str, list[Column]], rows: dict[str, np.ndarray]) -> Tensors:
    described = [
        {
            "name": name,
            "dtype": _tensor(group)[0],
            "shape": [len(group)],
            "columns": [column.name for column in group],
        }
        for name, group in inputs.items()
    ]
    return tensors_of(rows, described)


def _frame(rows: dict[str, np.ndarray], columns: list[Column]) -> Any:
    """As a data scientist reads the file: integers and booleans are such where none is missing; a
    missing text is empty, as it is to every served model."""
    import pandas as pd

    kinds = {"integer": "int64", "boolean": "bool"}
    frame = pd.DataFrame(rows)
    for column in columns:
        if column.kind in kinds and not frame[column.name].isna().to_numpy().any():
            frame[column.name] = frame[column.name].astype(kinds[column.kind])
        if column.kind in TEXT:
            frame[column.name] = frame[column.name].fillna("")
    return frame
