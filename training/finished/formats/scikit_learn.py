"""scikit-learn estimators and pipelines that skops has written."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from engine.artefact import ONNX, Column, ModelNotes
from engine.protocol import Refused
from engine.runtime.runtimes.scikit_learn import RUNTIME, frame_of
from engine.runtime.tensors import TEXT, Tensors, tensors_of
from training.contract import DatasetFiles
from training.finished.columns import MATRIX, as_matrix, first_rows
from training.finished.format import Described, ModelFormat
from training.runtimes.target import Unsuited
from training.runtimes.targets.scikit_learn import columns_of_estimator, loaded


class ScikitLearn(ModelFormat):
    """A `.skops` file; its feature steps are part of the model."""

    @property
    def expects(self) -> str:
        """What it takes."""
        return "a scikit-learn model of skops (.skops)"

    def recognises(self, place: Path) -> bool:
        """By the end of its name."""
        return place.is_file() and place.suffix.lower() == ".skops"

    def convert(self, place: Path, folder: Path, dataset: DatasetFiles | None) -> Described:
        """The model in ONNX, which takes the columns that it was fitted with; where ONNX cannot
        say what it computes, the file as it is, for scikit-learn itself."""
        from training.scikit_learn_onnx import expected_of

        if dataset is None:
            raise Refused(f"{place.name} predicts from rows; declare the dataset of the model")
        model = loaded(place)
        columns = columns_of_estimator(model, dataset, place.name)
        rows = first_rows(dataset, columns)
        kinds = {column.name: column.kind for column in columns}
        frame = frame_of(rows, kinds) if hasattr(model, "feature_names_in_") else as_matrix(rows)
        expected = expected_of(model, frame)
        classes = [str(each) for each in getattr(model, "classes_", ())]
        try:
            inputs = _convert(model, columns, rows, expected, folder)
        except Unsuited as error:
            print(f"not run by ONNX Runtime: {error}", flush=True)  # noqa: T201
            shutil.copy(place, folder / RUNTIME.model)
            return Described(classes)
        return Described(classes, ModelNotes(inputs=inputs))


FORMAT = ScikitLearn()


def _convert(
    model: Any,
    columns: list[Column],
    rows: dict[str, np.ndarray],
    expected: np.ndarray,
    folder: Path,
) -> dict[str, list[str]]:
    """Columns by input of the model that is now in ONNX in the folder.

    Raises Unsuited where it cannot be exported, or would answer otherwise.
    """
    from training.scikit_learn_onnx import as_onnx, input_names, require_same_answers

    wanted = _inputs(model, columns)
    exported = as_onnx(model, {name: _tensor(group) for name, group in wanted.items()})
    inputs = dict(zip(input_names(exported), wanted.values(), strict=True))
    require_same_answers(exported, model, expected, _tensors(inputs, rows))
    (folder / ONNX).write_bytes(exported)
    return {name: [column.name for column in group] for name, group in inputs.items()}


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
        raise Unsuited(
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
