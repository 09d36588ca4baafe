"""scikit-learn models as ONNX that takes raw rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import is_classifier
from sklearn.feature_extraction.text import TfidfVectorizer

from engine.protocol import Refused
from engine.runtime.runtimes.scikit_learn import scores_of
from engine.runtime.tensors import Tensors
from training.agreement import require_agreement
from training.runtimes.target import Unsuited

OPSET = 17
LOCALE = "C.UTF-8"
"""Lowers letters of all scripts, and is part of every C library."""
TYPES = {"float32": FloatTensorType, "string": StringTensorType}


def as_onnx(model: Any, inputs: Mapping[str, tuple[str, int]]) -> bytes:
    """The fitted estimator or pipeline with an input of this type and width for each name, and
    scores of all classes as one tensor.

    Raises Unsuited where a step cannot be exported.
    """
    types = [(name, TYPES[kind]([None, width])) for name, (kind, width) in inputs.items()]
    options: dict[Any, Any] = {TfidfVectorizer: {"locale": LOCALE}}
    if is_classifier(model):
        options[id(model)] = {"zipmap": False}
    try:
        converted: Any = convert_sklearn(
            model, initial_types=types, options=options, target_opset=OPSET
        )
    # The converter raises classes of its own, and whatever its parts do.
    except Exception as error:
        raise Unsuited(
            f"the scikit-learn model cannot be exported to ONNX: {error}; use steps and learners "
            "that skl2onnx converts, and move functions of your own into the dataset"
        ) from error
    return converted.SerializeToString()


def input_names(exported: bytes) -> list[str]:
    """Names of the model's inputs in the order in which they were given; the converter writes
    other signs than letters and digits as _."""
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    return [each.name for each in session.get_inputs()]


def expected_of(model: Any, frame: Any) -> np.ndarray:
    """What scikit-learn answers to rows of the dataset. Raises Refused where it takes them not:
    an encoder, for instance, may know no category that requests may have."""
    try:
        return scores_of(model, frame)
    # Estimators raise whatever their parts do.
    except Exception as error:
        raise Refused(
            f"the scikit-learn model cannot be tried on rows of the dataset: {error}"
        ) from error


def require_same_answers(
    exported: bytes, model: Any, expected: np.ndarray, tensors: Tensors
) -> None:
    """Return when ONNX Runtime gives for the tensors what scikit-learn gives. Raises Unsuited."""
    try:
        session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
        got = np.asarray(session.run(None, tensors)[1 if is_classifier(model) else 0])
    # ONNX Runtime raises classes of its own.
    except Exception as error:
        raise Unsuited(f"ONNX Runtime cannot run the scikit-learn model: {error}") from error
    require_agreement("scikit-learn", expected, got)
