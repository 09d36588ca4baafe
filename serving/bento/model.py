"""The model that a Bento carries, and what it answers."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from runtime.model import Model as ArtefactModel
from runtime.predictions import predictions_of, probabilities_of
from runtime.request import RequestReader
from runtime.tensors import Tensors
from runtime.writing import LanguageModel

DIGITS = 6
"""Decimals of a probability."""


class Model:
    """The artefact beside this file, whose bytes are those that were registered."""

    def __init__(self, folder: Path) -> None:
        self.identity = json.loads((folder / "identity.json").read_bytes())
        artefact = folder / "artefact"
        manifest = json.loads((artefact / "manifest.json").read_bytes())
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
        if digest != self.identity["artefact_digest"]:
            raise RuntimeError(f"the model in {folder} is not the one that was registered")
        self._model = ArtefactModel(artefact, manifest, serves=True)
        self.signature = self._model.signature
        self.example = (artefact / "input_example.json").read_bytes()
        # The first call of a model takes longer than others. Rows that it has seen, because some
        # refuse others: an encoder may know no empty category.
        reader = RequestReader(self.signature, self.identity["limits"]["rows"])
        self._model.answers(reader.read(b'{"inputs": %b}' % self.example).tensors)

    @property
    def writer(self) -> LanguageModel | None:
        """What writes texts token by token; None where the model does not."""
        return self._model.writer

    def outputs(self, tensors: Tensors) -> np.ndarray:
        """Scores or values [rows, ...]."""
        return self._model.answers(tensors)

    def answer(self, outputs: np.ndarray, request_id: str) -> dict[str, Any]:
        """What is answered of the outputs."""
        answer = {
            "predictions": self.predictions(outputs),
            "outputs": outputs.tolist(),
            "model_version": self.identity["model_version"],
            "dataset_version": self.identity["dataset_version"],
            "request_id": request_id,
        }
        probabilities = self.probabilities(outputs)
        if probabilities is not None:
            answer["classes"] = self.signature["classes"]
            answer["probabilities"] = probabilities.tolist()
        return answer

    def predictions(self, outputs: np.ndarray) -> list[Any]:
        """Class, action or value by row."""
        return predictions_of(self.signature, outputs)

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        """Probability of each class, float64 [rows, classes]; None where there are no classes."""
        probabilities = probabilities_of(self.signature, outputs)
        return None if probabilities is None else probabilities.round(DIGITS)
