"""What MLflow loads an artefact by that is no ONNX; this package lies beside it as `runtime`."""

import importlib
import pkgutil
from pathlib import Path

import numpy as np

from . import runtimes
from .model import Model
from .tensors import Tensors

# MLflow may remove the folder of one model while the modules that it brought answer for the next.
for _module in pkgutil.iter_modules(runtimes.__path__):
    importlib.import_module(f"{runtimes.__name__}.{_module.name}")


class Loaded:
    """The model as MLflow asks it."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, tensors: Tensors) -> np.ndarray:
        """Scores or values [rows, ...] for a tensor by input."""
        return self._model.answers(tensors)


def _load_pyfunc(path: str) -> Loaded:
    return Loaded(Model(Path(path)))
