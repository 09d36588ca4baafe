"""The export: from what a trainer left in its last checkpoint to a sealed artefact."""

import json
import logging
import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from engine.artefact import EXAMPLE, NOTES, ONNX, PROGRAM, SIGNATURE, ModelNotes, seal
from engine.protocol import Refused, write_atomically
from engine.runtime.onnx_model import OnnxModel
from engine.runtime.tensors import Tensors
from training.contract import DatasetFiles
from training.signature import example_of, signature_of

TOLERANCE = 1e-4
"""Largest difference between the ONNX and PyTorch outputs, relative to the outputs' scale."""


def export(checkpoint: Path, folder: Path, dataset: DatasetFiles | None) -> str:
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
    signature = signature_of(folder, dataset, _notes(checkpoint))
    write_atomically(folder / SIGNATURE, signature.model_dump_json(indent=2))
    rows, tensors = example_of(signature, dataset)
    write_atomically(folder / EXAMPLE, json.dumps(rows))
    _require_an_answer(folder, tensors)
    if program.exists():
        _require_agreement(folder, tensors)
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


def _require_an_answer(folder: Path, tensors: Tensors) -> None:
    """Return when the model answers its example. Raises Refused."""
    try:
        OnnxModel(folder).answers(tensors)
    except Exception as error:
        raise Refused(
            f"ONNX Runtime cannot run the exported model on two rows of the dataset: {error}"
        ) from error


def _require_agreement(folder: Path, tensors: Tensors) -> None:
    program = torch.export.load(folder / PROGRAM).module()
    with torch.no_grad():
        expected = program(*(torch.from_numpy(tensor) for tensor in tensors.values())).numpy()
    got = OnnxModel(folder).answers(tensors)
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(got - expected).max()) / scale
    if difference > TOLERANCE:
        raise Refused(
            f"ONNX Runtime and PyTorch differ by {difference:.2e} of the outputs' scale, expected "
            f"at most {TOLERANCE:.0e}"
        )
