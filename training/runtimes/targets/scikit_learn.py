"""scikit-learn models that are run by scikit-learn itself."""

import shutil
from pathlib import Path
from typing import Any

from engine.artefact import Column, DType, ModelNotes, TensorSignature
from engine.protocol import Refused
from engine.runtime.runtimes.scikit_learn import RUNTIME, UnsafeTypes, estimator_in
from engine.runtime.tensors import TEXT
from training.contract import DatasetFiles
from training.finished.columns import MATRIX, fitted_columns
from training.runtimes.target import Described, Target

OUTPUT = "answers"


class ScikitLearn(Target):
    """Takes a file of skops. A model that was fitted with a DataFrame has one input for each of
    its columns, else one matrix."""

    @property
    def expects(self) -> str:
        """What a trainer leaves for it."""
        return f"{RUNTIME.model} (skops.io.dump of a fitted estimator or pipeline)"

    def takes(self, checkpoint: Path) -> bool:
        """Whether there is a file of skops of that name."""
        return (checkpoint / RUNTIME.model).exists()

    def export(self, checkpoint: Path, folder: Path) -> None:
        """The file as it is."""
        shutil.copy(checkpoint / RUNTIME.model, folder / RUNTIME.model)

    def describe(self, folder: Path, dataset: DatasetFiles | None, notes: ModelNotes) -> Described:
        """The columns that the model was fitted with, and its classes."""
        if dataset is None:
            raise Refused("a scikit-learn model predicts from rows; declare the model's dataset")
        model = loaded(folder / RUNTIME.model)
        columns = columns_of_estimator(model, dataset, RUNTIME.model)
        classes = [str(each) for each in getattr(model, "classes_", ())]
        if hasattr(model, "feature_names_in_"):
            inputs = [_tensor(column.name, [column]) for column in columns]
        else:
            inputs = [_tensor(MATRIX, columns)]
        output = TensorSignature(name=OUTPUT, dtype="float64", shape=[len(classes) or 1])
        return Described(inputs, [output], classes)


TARGET = ScikitLearn()


def loaded(file: Path) -> Any:
    """The estimator in the file. Raises Refused."""
    try:
        return estimator_in(file)
    except UnsafeTypes as error:
        raise Refused(
            f"{file.name} holds {error}, expected types of scikit-learn, NumPy and SciPy alone: "
            "others may run any code. A function of your own belongs into the dataset (transform: "
            "module:function), or into a trainer of yours"
        ) from error
    # A damaged archive raises whatever its parts do.
    except Exception as error:
        raise Refused(
            f"{file.name} is no file of skops: {type(error).__name__}: {error}"
        ) from error


def columns_of_estimator(model: Any, dataset: DatasetFiles, file: str) -> list[Column]:
    """The dataset's columns in the order in which the model in the file was fitted with them.
    Raises Refused."""
    names = getattr(model, "feature_names_in_", None)
    known = None if names is None else [str(each) for each in names]
    return fitted_columns(file, known, getattr(model, "n_features_in_", None), dataset)


def _tensor(name: str, columns: list[Column]) -> TensorSignature:
    kinds: set[DType] = {"string" if column.kind in TEXT else "float64" for column in columns}
    if len(kinds) > 1:
        raise Refused(
            "the model takes text and numbers in one matrix; fit it with a DataFrame, whose "
            "columns it tells apart"
        )
    names = [column.name for column in columns]
    return TensorSignature(name=name, dtype=kinds.pop(), shape=[len(columns)], columns=names)
