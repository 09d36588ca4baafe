"""An artefact's ONNX model."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from .signature import Signature, answer_of, current
from .tensors import Tensors, rows_in, taken

FILE = "model.onnx"
PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxModel:
    """Answers batches through ONNX Runtime."""

    def __init__(self, folder: Path, digest: str | None = None) -> None:
        """The model in the artefact's folder. Raises RuntimeError unless its bytes have the
        SHA-256, where one is given."""
        import onnxruntime

        self.signature: Signature = current(json.loads((folder / "signature.json").read_bytes()))
        model = (folder / FILE).read_bytes()
        if digest is not None and hashlib.sha256(model).hexdigest() != digest:
            raise RuntimeError(f"the model in {folder} is not the one that was registered")
        options = onnxruntime.SessionOptions()
        # Requests and scenarios are answered side by side; threads of one call would compete.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        here = onnxruntime.get_available_providers()
        self._session = onnxruntime.InferenceSession(
            model, options, providers=[name for name in PREFERRED if name in here]
        )
        self._answer = [answer_of(self.signature)["name"]]

    def answers(self, tensors: Tensors) -> np.ndarray:
        """Scores of classes or actions, or values: [rows, ...]."""
        return np.asarray(self._session.run(self._answer, tensors)[0])

    def answers_in_parts(self, tensors: Tensors, most_rows: int) -> np.ndarray:
        """The same in calls of at most so many rows, which bounds the memory."""
        parts: list[Any] = [
            self.answers(taken(tensors, start, start + most_rows))
            for start in range(0, rows_in(tensors), most_rows)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def zeros(signature: Signature, rows: int = 1) -> Tensors:
    """Rows of zeros and empty texts, to try a model with."""
    return {
        each["name"]: np.full((rows, *each["shape"]), "", object)
        if each["dtype"] == "string"
        else np.zeros((rows, *each["shape"]), np.dtype(each["dtype"]))
        for each in signature["inputs"]
    }
