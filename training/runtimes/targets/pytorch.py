"""Programs of PyTorch that have no counterpart in ONNX."""

import shutil
from pathlib import Path
from typing import Any, get_args

from engine.artefact import DType, ModelNotes, TensorSignature
from engine.protocol import Refused
from engine.runtime.runtimes.pytorch import RUNTIME
from training.contract import DatasetFiles
from training.runtimes.target import Described, Target


class PyTorch(Target):
    """Takes what `torch.export.save` writes."""

    @property
    def expects(self) -> str:
        """What a trainer leaves for it."""
        return f"{RUNTIME.model} (torch.export.save)"

    def takes(self, checkpoint: Path) -> bool:
        """Whether there is a program."""
        return (checkpoint / RUNTIME.model).exists()

    def export(self, checkpoint: Path, folder: Path) -> None:
        """The program as it is."""
        shutil.copy(checkpoint / RUNTIME.model, folder / RUNTIME.model)

    def describe(self, folder: Path, dataset: DatasetFiles | None, notes: ModelNotes) -> Described:
        """The tensors of the program's graph."""
        import torch

        program = torch.export.load(folder / RUNTIME.model)
        values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        signature = program.graph_signature
        return Described(
            [_tensor(str(name), values[str(name)]) for name in signature.user_inputs],
            [_tensor(str(name), values[str(name)]) for name in signature.user_outputs],
        )


TARGET = PyTorch()


def _tensor(name: str, value: Any) -> TensorSignature:
    import torch

    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in get_args(DType):
        raise Refused(f"{name} is {dtype}, expected one of {', '.join(get_args(DType))}")
    first, *others = value.shape or [1]
    if not isinstance(first, torch.SymInt) or not all(isinstance(size, int) for size in others):
        raise Refused(
            f"{name} has shape {list(value.shape)}, expected a dynamic first dimension and fixed "
            "others: pass dynamic_shapes=({0: torch.export.Dim('batch')},) to torch.export.export"
        )
    return TensorSignature(name=name, dtype=dtype, shape=others)  # pyright: ignore[reportArgumentType]
