"""scikit-learn estimators and pipelines in files of skops, by scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np

from ..runtime import Function, Loaded, Runtime
from ..signature import Signature
from ..tensors import TEXT, Columns, Tensors

SAFE = ("sklearn.", "numpy.", "scipy.")
"""Packages whose types a file may hold."""
EXACT = {"integer": "int64", "boolean": "bool"}
"""Types of columns in which no value is missing."""


class UnsafeTypes(Exception):
    """A file holds objects of other packages, which could run any code."""


class ScikitLearn(Runtime):
    """Rows reach an estimator that knows the names of its columns as a DataFrame."""

    model = "model.skops"
    requirements = ("pandas", "scikit-learn", "skops")

    def load(self, place: Path, signature: Signature) -> Loaded:
        """The estimator in the file. Raises UnsafeTypes."""
        estimator = estimator_in(place)
        kinds = {column["name"]: column["kind"] for column in signature["columns"]}

        def answers(tensors: Tensors) -> np.ndarray:
            if not hasattr(estimator, "feature_names_in_"):
                (rows,) = tensors.values()
            else:
                flat = {name: tensor.reshape(len(tensor)) for name, tensor in tensors.items()}
                rows = frame_of(flat, kinds)
            return scores_of(estimator, rows)

        return Function(answers)


def estimator_in(file: Path) -> Any:
    """The estimator in a file of skops.

    Raises UnsafeTypes before anything of the file runs, and whatever skops does for a damaged one.
    """
    import skops.io

    kinds = skops.io.get_untrusted_types(file=file)
    foreign = [kind for kind in kinds if not kind.startswith(SAFE)]
    if foreign:
        raise UnsafeTypes(", ".join(foreign[:8]))
    return skops.io.load(file, trusted=kinds)


def frame_of(columns: Columns, kinds: dict[str, str]) -> Any:
    """A DataFrame as a data scientist reads a file of these columns: integers and booleans are
    such where none is missing; a missing text is empty, as it is to every model."""
    import pandas as pd

    frame = pd.DataFrame(columns)
    for name in frame.columns:
        kind = kinds[name]
        if kind in EXACT and not frame[name].isna().to_numpy().any():
            frame[name] = frame[name].astype(EXACT[kind])
        if kind in TEXT:
            frame[name] = frame[name].fillna("")
    return frame


def scores_of(estimator: Any, rows: Any) -> np.ndarray:
    """Probabilities or scores of the classes [rows, classes], or values [rows, 1].

    Of two classes a decision function gives one number, which is the second's.
    """
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(rows))
    if not hasattr(estimator, "decision_function") or not hasattr(estimator, "classes_"):
        return np.asarray(estimator.predict(rows)).reshape(-1, 1)
    decided = np.asarray(estimator.decision_function(rows))
    return np.stack([-decided, decided], axis=1) if decided.ndim == 1 else decided


RUNTIME = ScikitLearn()
