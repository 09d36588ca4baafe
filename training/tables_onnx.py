"""A scikit-learn pipeline as ONNX that takes raw rows."""

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline

from engine.protocol import Refused

if TYPE_CHECKING:
    from training.table_rows import Rows

OPSET = 17
LOCALE = "C.UTF-8"
"""Lowers letters of all scripts, and is part of every C library."""
COMPARED = 2_000
"""Rows on which both must agree."""
TOLERANCE = 1e-3
"""Largest mean difference, relative to the scale of the outputs. ONNX trees compare in float32,
so single rows that lie on a threshold differ by more."""


def onnx_of(model: Pipeline, rows: "Rows", classes: int) -> bytes:
    """The pipeline in ONNX with scores for all classes.

    Raises Refused where a step cannot be exported, a class has no training row, or ONNX Runtime
    and scikit-learn disagree on the rows.
    """
    _require_all_classes(model, classes)
    first = rows.take(np.arange(min(COMPARED, len(rows.numbers))))
    tensors = first.tensors()
    kinds = {
        name: (FloatTensorType if tensor.dtype == np.float32 else StringTensorType)(
            [None, tensor.shape[1]]
        )
        for name, tensor in tensors.items()
    }
    options: dict[Any, Any] = {TfidfVectorizer: {"locale": LOCALE}}
    if classes:
        options[id(model)] = {"zipmap": False}
    converted: Any = convert_sklearn(
        model, initial_types=[*kinds.items()], options=options, target_opset=OPSET
    )
    exported = converted.SerializeToString()
    _require_agreement(exported, model, first, classes)
    return exported


def _require_all_classes(model: Pipeline, classes: int) -> None:
    known = getattr(model["learner"], "classes_", np.arange(classes))
    if classes and len(known) < classes:
        missing = sorted(set(range(classes)) - set(known.tolist()))
        raise Refused(
            f"{len(missing)} of {classes} classes have no row to learn from (the first is class "
            f"number {missing[0]}); expected at least one of each: add rows, or drop the class"
        )


def _require_agreement(exported: bytes, model: Pipeline, rows: "Rows", classes: int) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    got = np.asarray(session.run(None, rows.tensors())[1 if classes else 0])
    frame = rows.frame()
    expected = model.predict_proba(frame) if classes else model.predict(frame)[:, None]
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(got - expected).mean()) / scale
    if not difference <= TOLERANCE:
        raise Refused(
            f"ONNX Runtime and scikit-learn differ by {difference:.2e} on average, expected at "
            f"most {TOLERANCE:.0e} of the outputs' scale"
        )
