"""The model of an artefact, whatever runs it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .runtime import runtime_of
from .signature import Signature, current
from .tensors import Tensors, rows_in, taken
from .writing import LanguageModel


class Model:
    """Answers batches."""

    def __init__(
        self, folder: Path, manifest: Mapping[str, str] | None = None, *, serves: bool = False
    ) -> None:
        """The model in the artefact's folder, of a service or not.

        Raises RuntimeError unless its files have the SHA-256 of the manifest, where one is given,
        and whatever the runtime does.
        """
        self.signature: Signature = current(json.loads((folder / "signature.json").read_bytes()))
        runtime = runtime_of(self.signature)
        for name, digest in (manifest or {}).items():
            if runtime.holds(name) and _digest_of(folder / name) != digest:
                raise RuntimeError(f"the model in {folder} is not the one that was registered")
        load = runtime.load_to_serve if serves else runtime.load
        self._loaded = load(folder / runtime.model, self.signature)
        self._order: list[int] = self.signature.get("order") or []

    def answers(self, tensors: Tensors) -> np.ndarray:
        """Scores of classes or actions, values, or texts: [rows, ...]."""
        answers = self._loaded.answers(tensors)
        return answers[:, self._order] if self._order else answers

    def likelihoods(self, tensors: Tensors, texts: np.ndarray) -> np.ndarray:
        """Of a model that writes: sum of the negative log-likelihoods (nats) of the tokens of each
        text, after what is given for its row, and their number: float64 [rows, 2]. Raises TypeError
        for others."""
        return self._loaded.likelihoods(tensors, texts)

    @property
    def writer(self) -> LanguageModel | None:
        """What writes texts token by token; None where the model does not."""
        return self._loaded if isinstance(self._loaded, LanguageModel) else None

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


def _digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
