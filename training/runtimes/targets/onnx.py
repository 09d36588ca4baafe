"""Models that are ONNX, or become it: the smallest and quickest services."""

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

from engine.artefact import DType, ModelNotes, TensorSignature
from engine.protocol import Refused
from engine.runtime.model import Model
from engine.runtime.runtimes.onnx import RUNTIME
from engine.runtime.runtimes.pytorch import RUNTIME as PYTORCH
from engine.runtime.tensors import Tensors
from training.agreement import require_agreement
from training.contract import DatasetFiles
from training.runtimes.target import Described, Target, Unsuited

DTYPES: dict[str, DType] = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}


class Onnx(Target):
    """Takes ONNX as it is, and programs of PyTorch, which are compared with what they became."""

    preference = 1

    @property
    def expects(self) -> str:
        """What a trainer leaves for it."""
        return f"{RUNTIME.model} or {PYTORCH.model} (torch.export.save)"

    def takes(self, checkpoint: Path) -> bool:
        """Whether there is a program, or ONNX."""
        return any((checkpoint / name).exists() for name in (PYTORCH.model, RUNTIME.model))

    def export(self, checkpoint: Path, folder: Path) -> None:
        """The program as ONNX, with the program beside it for attacks that need gradients; else
        the ONNX of the checkpoint."""
        program = checkpoint / PYTORCH.model
        if not program.exists():
            shutil.copy(checkpoint / RUNTIME.model, folder / RUNTIME.model)
            return
        shutil.copy(program, folder / PYTORCH.model)
        _converted(program).save(folder / RUNTIME.model)

    def describe(self, folder: Path, dataset: DatasetFiles | None, notes: ModelNotes) -> Described:
        """What ONNX Runtime says of the model."""
        session = _opened(folder / RUNTIME.model)
        return Described(
            [_tensor(node) for node in session.get_inputs()],
            [_tensor(node) for node in session.get_outputs()],
        )

    def require_agreement(self, checkpoint: Path, folder: Path, tensors: Tensors) -> None:
        """Compare with the program, where there is one."""
        import torch

        if not (checkpoint / PYTORCH.model).exists():
            return
        program = torch.export.load(checkpoint / PYTORCH.model).module()
        with torch.no_grad():
            given = program(*(torch.from_numpy(tensor) for tensor in tensors.values()))
        model = Model(folder)
        got = model.answers(tensors)
        names = [each["name"] for each in model.signature["outputs"]]
        position = names.index(model.signature["answer"])
        expected = (given if isinstance(given, torch.Tensor) else given[position]).numpy()
        order = model.signature["order"]
        expected = expected[:, order] if order else expected
        require_agreement("PyTorch", expected, got, everywhere=True)


TARGET = Onnx()


def _converted(program: Path) -> Any:
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exported = torch.onnx.export(torch.export.load(program), dynamo=True, verbose=False)
        # The exporter raises classes of its own, and whatever its parts do.
        except Exception as error:
            raise Unsuited(
                f"PyTorch cannot export the program to ONNX: {_reason(error)}"
            ) from error
    if exported is None:
        raise Unsuited("PyTorch gave no ONNX program for the exported model")
    return exported


def _reason(error: Exception) -> str:
    """What the exporter found first; its own message is advice for developers of PyTorch."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return f"{error}".splitlines()[0] if f"{error}" else type(error).__name__


def _opened(model: Path) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    # ONNX Runtime raises classes of its own, which share no base but Exception.
    except Exception as error:
        raise Refused(
            f"ONNX Runtime cannot open the model: {error}; export it with operators and an opset "
            f"that ONNX Runtime {onnxruntime.__version__} has"
        ) from error


def _tensor(node: Any) -> TensorSignature:
    if node.type not in DTYPES:
        zipped = ": convert with options={'zipmap': False}" if node.type.startswith("seq") else ""
        raise Refused(f"{node.name} is {node.type}, expected one of {', '.join(DTYPES)}{zipped}")
    shape = node.shape[1:]
    is_dynamic = bool(node.shape) and not isinstance(node.shape[0], int)
    if not is_dynamic or not all(isinstance(size, int) for size in shape):
        raise Refused(
            f"{node.name} has shape {node.shape}, expected a dynamic first dimension and fixed "
            "others: pass dynamic_shapes=({0: torch.export.Dim('batch')},) to torch.export.export"
        )
    return TensorSignature(name=node.name, dtype=DTYPES[node.type], shape=shape)
