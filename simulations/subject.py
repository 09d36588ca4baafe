"""The subject of a simulation: an exported artefact, loaded without any training code."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from engine.artefact import ONNX, PROGRAM, Signature, read_signature, verify
from engine.protocol import Refused

ROWS_AT_ONCE = 8192


class Subject:
    """A model version under trial; answers in batches through ONNX Runtime."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Raises engine.artefact.ArtefactCorrupt unless the bytes are those of the digest."""
        verify(folder, digest)
        self._folder = folder
        self.signature: Signature = read_signature(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            folder / ONNX, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Raw outputs [rows, ...]."""
        parts: list[Any] = [
            self._session.run(None, {self._input: rows[start : start + ROWS_AT_ONCE]})[0]
            for start in range(0, len(rows), ROWS_AT_ONCE)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def choices(self, rows: np.ndarray) -> np.ndarray:
        """Most likely class or action, int64 [rows]."""
        return self.outputs(rows).argmax(axis=1)

    @property
    def program(self) -> Path:
        """File of the differentiable program. Raises Refused where the artefact has none."""
        if not (self._folder / PROGRAM).exists():
            raise Refused(
                f"a gradient attack needs {PROGRAM} in the artefact, and it has only {ONNX}; "
                f"let the trainer leave {PROGRAM} in its last checkpoint"
            )
        return self._folder / PROGRAM
