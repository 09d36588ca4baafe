"""Boosted trees that XGBoost has written in its own formats, JSON and UBJSON."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from engine.artefact import ONNX, Column, ModelNotes
from engine.protocol import Refused
from engine.runtime.tensors import TEXT
from training.contract import DatasetFiles
from training.finished.columns import MATRIX, as_matrix, first_rows, fitted_columns
from training.finished.format import Described, ModelFormat

SUFFIXES = (".json", ".ubj")
BEGINNING = re.compile(rb"""\{(\s*"|L.{8})learner""", re.DOTALL)
"""The first field of such a file; UBJSON has the length of its name before it."""
HEAD = 64
OPSET = 15
"""The highest that onnxmltools writes."""
CATEGORICAL = "c"
"""Type of a feature whose trees ask for categories."""
SOFTMAX = "multi:softmax"
"""Objective whose predictions are classes and no probabilities."""


class XGBoostModel(ModelFormat):
    """A `.json` or `.ubj` file of `save_model`."""

    @property
    def expects(self) -> str:
        """What it takes."""
        return "boosted trees of XGBoost (.json or .ubj of save_model)"

    def recognises(self, place: Path) -> bool:
        """By the end of its name and its first field: other files end in .json too."""
        if not place.is_file() or place.suffix.lower() not in SUFFIXES:
            return False
        with place.open("rb") as file:
            return BEGINNING.match(file.read(HEAD)) is not None

    def convert(self, place: Path, folder: Path, dataset: DatasetFiles | None) -> Described:
        """The trees in ONNX, which take the columns that they were fitted with as one matrix."""
        if dataset is None:
            raise Refused(f"{place.name} predicts from rows; declare the dataset of the model")
        trees = _loaded(place)
        _require_plain(trees, place.name)
        # Without names each feature is named after its place, which is all that is exported.
        names = trees.feature_names
        trees.feature_names = trees.feature_types = None
        columns = fitted_columns(place.name, names, trees.num_features(), dataset)
        _require_numbers(columns, place.name)
        exported = _as_onnx(trees, len(columns))
        rows = as_matrix(first_rows(dataset, columns)).astype(np.float32)
        _require_same_answers(exported, trees, rows)
        (folder / ONNX).write_bytes(exported)
        notes = ModelNotes(inputs={MATRIX: [column.name for column in columns]})
        return Described(_classes(dataset), notes)


FORMAT = XGBoostModel()


def _loaded(file: Path) -> Any:
    """The trees, up to the best iteration where the training has stopped early."""
    try:
        import onnxmltools  # noqa: F401
        import xgboost
    except ImportError as error:
        raise Refused(
            f"{file.name} is a model of XGBoost, and {error.name} is not installed; install the "
            "extra: orrery[xgboost]"
        ) from error
    try:
        trees = xgboost.Booster(model_file=str(file))
    except xgboost.core.XGBoostError as error:
        reason = str(error).partition("\n")[0]
        raise Refused(f"{file.name} is no model of XGBoost: {reason}") from error
    best = trees.attr("best_iteration")
    return trees if best is None else trees[: int(best) + 1]


def _require_plain(trees: Any, name: str) -> None:
    """Return when ONNX can say the trees. Raises Refused."""
    kind = _learner(trees)["gradient_booster"]["name"]
    if kind != "gbtree":
        raise Refused(f"{name} is of the booster {kind}, expected gbtree, which ONNX can say")
    if CATEGORICAL in (trees.feature_types or ()):
        named = trees.feature_names or range(len(trees.feature_types))
        kinds = zip(named, trees.feature_types, strict=True)
        first = next(each for each, kind in kinds if kind == CATEGORICAL)
        raise Refused(
            f"{name} was fitted with categories (the column {first!r}), expected numbers, which "
            "ONNX can say: make them numbers by scikit-learn's OneHotEncoder in a pipeline, and "
            "save that by skops"
        )


def _learner(trees: Any) -> dict[str, Any]:
    return json.loads(trees.save_config())["learner"]


def _require_numbers(columns: list[Column], name: str) -> None:
    for column in columns:
        if column.kind in TEXT:
            raise Refused(
                f"{name} takes numbers, and the column {column.name!r} is a {column.kind}; make it "
                "a number in the dataset (transform: module:function)"
            )


def _as_onnx(trees: Any, width: int) -> bytes:
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [(MATRIX, FloatTensorType([None, width]))]
    try:
        return convert_xgboost(trees, initial_types=types, target_opset=OPSET).SerializeToString()
    # The converter raises whatever its parts do.
    except Exception as error:
        raise Refused(
            f"the trees of XGBoost cannot be exported to ONNX: {type(error).__name__}: {error}"
        ) from error


def _require_same_answers(exported: bytes, trees: Any, rows: np.ndarray) -> None:
    import onnxruntime
    import xgboost

    from training.agreement import require_agreement

    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    got = np.asarray(session.run(None, {MATRIX: rows})[-1])
    # Whose scores are exported as they are, before the softmax.
    is_margin = _learner(trees)["objective"]["name"] == SOFTMAX
    expected = trees.predict(xgboost.DMatrix(rows), output_margin=is_margin)
    if expected.ndim == 1 and got.shape[1:] == (2,):
        expected = np.stack([1 - expected, expected], axis=1)
    require_agreement("XGBoost", expected, got)


def _classes(dataset: DatasetFiles) -> list[str]:
    """The dataset's classes in the order in which scikit-learn's LabelEncoder numbers them, because
    XGBoost knows numbers from 0 alone: numbers by size, and texts by their letters."""
    try:
        return sorted(dataset.classes, key=float)
    except ValueError:
        return sorted(dataset.classes)
