"""The protocol of a runtime: what loads the model of an artefact, and answers with it.

Each module of `runtimes` has one as its `RUNTIME`, and gives it its name. Another distribution adds
one by an entry point of the group `orrery.runtimes`, and names itself among its requirements.
"""

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from .signature import Signature
from .tensors import Tensors

GROUP = "orrery.runtimes"
OBJECT = "RUNTIME"
DEFAULT = "onnx"
"""Runtime of a signature that names none."""


class Loaded(ABC):
    """A model that answers."""

    @abstractmethod
    def answers(self, tensors: Tensors) -> np.ndarray:
        """Scores of the model's own classes or actions, values, or texts: [rows, ...]."""

    def likelihoods(self, tensors: Tensors, texts: np.ndarray) -> np.ndarray:
        """Of a model that writes: sum of the negative log-likelihoods (nats) of the tokens of each
        text, after what is given for its row, and their number: float64 [rows, 2]."""
        raise TypeError(f"{type(self).__name__} writes no text")


class Function(Loaded):
    """A model that is one function."""

    def __init__(self, function: Callable[[Tensors], np.ndarray]) -> None:
        self._function = function

    def answers(self, tensors: Tensors) -> np.ndarray:
        """What the function gives."""
        return self._function(tensors)


class Runtime(ABC):
    """One way to run models."""

    model: ClassVar[str]
    """File or folder of the artefact that holds the model."""
    requirements: ClassVar[tuple[str, ...]]
    """Distributions that a service needs for it, besides those of every service."""

    @abstractmethod
    def load(self, place: Path, signature: Signature) -> Loaded:
        """The model in the file or folder. Runs no code that lies there, and raises whatever the
        runtime does for what is no model of it."""

    def load_to_serve(self, place: Path, signature: Signature) -> Loaded:
        """The same for a service, which another engine may answer faster."""
        return self.load(place, signature)

    def holds(self, name: str) -> bool:
        """Whether the file of that relative path in the artefact belongs to the model."""
        return name == self.model or name.startswith(f"{self.model}/")


def runtime_of(signature: Signature) -> Runtime:
    """The runtime that the signature names. Raises LookupError where it is not installed."""
    name = signature.get("runtime") or DEFAULT
    try:
        module = importlib.import_module(f".runtimes.{name}", __package__)
    except ModuleNotFoundError as error:
        found = importlib.metadata.entry_points(group=GROUP, name=name)
        if not found:
            raise LookupError(
                f"the model needs the runtime {name!r}, which is not installed here; install the "
                f"distribution that registers it as {GROUP}"
            ) from error
        return next(iter(found)).load()
    return getattr(module, OBJECT)
