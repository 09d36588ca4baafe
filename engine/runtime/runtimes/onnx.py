"""ONNX models, by ONNX Runtime."""

import os
from pathlib import Path

import numpy as np

from ..runtime import Function, Loaded, Runtime
from ..signature import Signature, answer_of
from ..tensors import Tensors

PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxRuntime(Runtime):
    """Runs on a GPU where ONNX Runtime finds one."""

    model = "model.onnx"
    requirements = ("onnxruntime",)

    def load(self, place: Path, signature: Signature) -> Loaded:
        """The model in the file."""
        # It reports to its vendor otherwise, from a thread and a database of its own.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Requests and scenarios are answered side by side; threads of one call would compete.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        here = onnxruntime.get_available_providers()
        session = onnxruntime.InferenceSession(
            place, options, providers=[name for name in PREFERRED if name in here]
        )
        names = [answer_of(signature)["name"]]

        def answers(tensors: Tensors) -> np.ndarray:
            return np.asarray(session.run(names, tensors)[0])

        return Function(answers)


RUNTIME = OnnxRuntime()
