"""The export: from what a trainer left in its last checkpoint to a sealed artefact."""

import logging
import shutil
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import torch
from pydantic import ValidationError

from engine.artefact import (
    NOTES,
    ONNX,
    PROGRAM,
    SIGNATURE,
    ModelNotes,
    Signature,
    TensorSignature,
    output_fault,
    seal,
)
from engine.protocol import Refused, write_atomically
from training.contract import DatasetFiles
from training.data import as_json

TOLERANCE = 1e-4
"""Largest difference between the ONNX and PyTorch outputs, relative to the outputs' scale."""
DTYPES: dict[str, Literal["float32", "float64", "int64"]] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
}


def export(
    checkpoint: Path, folder: Path, dataset: DatasetFiles | None, example: np.ndarray | None
) -> str:
    """Content hash of the artefact now in `folder`.

    A trainer leaves `model.pt2` (`torch.export.save`, first input dimension dynamic) or
    `model.onnx` in the last checkpoint it reports. Raises Refused when there is neither, or
    when ONNX Runtime and PyTorch disagree.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    program = checkpoint / PROGRAM
    if program.exists():
        shutil.copy(program, folder / PROGRAM)
        _write_onnx(folder)
    elif (checkpoint / ONNX).exists():
        shutil.copy(checkpoint / ONNX, folder / ONNX)
    else:
        raise Refused(
            f"the trainer's last checkpoint holds neither {PROGRAM} nor {ONNX}; expected one of "
            "them beside the state: add torch.export.save(torch.export.export(model, ...), "
            f"'{PROGRAM}') before the last ray.train.report"
        )
    signature = _signature(folder, dataset, _notes(checkpoint))
    write_atomically(folder / SIGNATURE, signature.model_dump_json(indent=2))
    if example is None:
        example = np.zeros((2, *signature.input.shape), signature.input.dtype)
    write_atomically(folder / "input_example.json", as_json(example[:2]))
    if program.exists():
        _require_agreement(folder, example)
    return seal(folder)


def _write_onnx(folder: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.export.load(folder / PROGRAM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    if exported is None:
        raise Refused("PyTorch gave no ONNX program for the exported model")
    exported.save(folder / ONNX)


def open_onnx(folder: Path) -> onnxruntime.InferenceSession:
    """Session over the artefact's ONNX model, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(folder / ONNX, options, providers=["CPUExecutionProvider"])


def predict(session: onnxruntime.InferenceSession, rows: np.ndarray) -> np.ndarray:
    """Outputs [rows, ...] of the model."""
    return np.asarray(session.run(None, {session.get_inputs()[0].name: rows})[0])


def _notes(checkpoint: Path) -> ModelNotes:
    """What the trainer says of its model. Raises Refused."""
    try:
        return ModelNotes.model_validate_json((checkpoint / NOTES).read_bytes())
    except FileNotFoundError:
        return ModelNotes()
    except ValidationError as error:
        raise Refused(
            f"{NOTES} in the trainer's last checkpoint cannot be used: {error}"
        ) from error


def _signature(folder: Path, dataset: DatasetFiles | None, notes: ModelNotes) -> Signature:
    session = open_onnx(folder)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise Refused(
            f"the model has {len(inputs)} inputs and {len(outputs)} outputs, expected one of each"
        )
    signature = Signature(
        input=_tensor(inputs[0]),
        output=_tensor(outputs[0]),
        task=_task(dataset),
        classes=dataset.classes if dataset else [],
        features=dataset.features if dataset else [],
        actions=notes.actions,
    )
    if fault := output_fault(signature):
        raise Refused(f"the exported model cannot be used: {fault}")
    return signature


def _task(dataset: DatasetFiles | None) -> Literal["classification", "regression", "control"]:
    if dataset is None:
        return "control"
    return dataset.task or ("classification" if dataset.classes else "regression")


def _tensor(node: onnxruntime.NodeArg) -> TensorSignature:
    if node.type not in DTYPES:
        raise Refused(f"{node.name} is {node.type}, expected one of {', '.join(DTYPES)}")
    shape = node.shape[1:]
    if not isinstance(node.shape[0], str) or not all(isinstance(size, int) for size in shape):
        raise Refused(
            f"{node.name} has shape {node.shape}, expected a dynamic first dimension and fixed "
            "others: pass dynamic_shapes=({0: torch.export.Dim('batch')},) to torch.export.export"
        )
    return TensorSignature(name=node.name, dtype=DTYPES[node.type], shape=shape)


def _require_agreement(folder: Path, example: np.ndarray) -> None:
    program = torch.export.load(folder / PROGRAM).module()
    with torch.no_grad():
        expected = program(torch.from_numpy(example)).numpy()
    got = predict(open_onnx(folder), example)
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(got - expected).max()) / scale
    if difference > TOLERANCE:
        raise Refused(
            f"ONNX Runtime and PyTorch differ by {difference:.2e} of the outputs' scale, expected "
            f"at most {TOLERANCE:.0e}"
        )
