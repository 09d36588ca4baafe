"""The export: from what a trainer left in its last checkpoint to a sealed artefact."""

import json
import shutil
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from engine.artefact import EXAMPLE, NOTES, SIGNATURE, ModelNotes, Signature, seal
from engine.protocol import Refused, write_atomically
from engine.runtime.model import Model
from engine.runtime.tensors import Tensors
from training.contract import DatasetFiles
from training.runtimes.target import Target, Unsuited, targets
from training.signature import are_probabilities, example_of, signature_of


def export(checkpoint: Path, folder: Path, dataset: DatasetFiles | None) -> str:
    """Content hash of the artefact now in `folder`.

    A trainer leaves its model in the last checkpoint that it reports: `model.pt2`
    (`torch.export.save`, first input dimension dynamic), `model.onnx`, or what another runtime
    takes. Where several could run it, the preferred one that can does. Raises Refused when there
    is none.
    """
    notes = _notes(checkpoint)
    refusal = None
    for name, target in targets().items():
        if not target.takes(checkpoint):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            _export_to(name, target, checkpoint, folder, dataset, notes)
        except Unsuited as error:
            # What a person reads who asks why a service is large.
            print(f"not run by {name}: {error}", flush=True)  # noqa: T201
            refusal = refusal or error
            continue
        return seal(folder)
    if refusal:
        raise refusal
    expected = "; ".join(target.expects for target in targets().values())
    raise Refused(
        f"the trainer's last checkpoint holds no model; expected beside the state one of: "
        f"{expected}. For PyTorch, add torch.export.save(torch.export.export(model, ...), "
        "'model.pt2') before the last ray.train.report"
    )


def holds_model(checkpoint: Path) -> bool:
    """Whether there is something to export."""
    return any(target.takes(checkpoint) for target in targets().values())


def _export_to(
    runtime: str,
    target: Target,
    checkpoint: Path,
    folder: Path,
    dataset: DatasetFiles | None,
    notes: ModelNotes,
) -> None:
    target.export(checkpoint, folder)
    described = target.describe(folder, dataset, notes)
    signature = signature_of(described, dataset, notes).model_copy(update={"runtime": runtime})
    rows, tensors = example_of(signature, dataset)
    _write(signature, folder)
    write_atomically(folder / EXAMPLE, json.dumps(rows))
    answers = _answers(folder, runtime, tensors)
    if signature.classes:
        shares = are_probabilities(answers)
        _write(signature.model_copy(update={"probabilities": shares}), folder)
    target.require_agreement(checkpoint, folder, tensors)


def _write(signature: Signature, folder: Path) -> None:
    write_atomically(folder / SIGNATURE, signature.model_dump_json(indent=2))


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


def _answers(folder: Path, runtime: str, tensors: Tensors) -> np.ndarray:
    """What the model answers to its example. Raises Refused."""
    try:
        return Model(folder).answers(tensors)
    # Every runtime raises classes of its own.
    except Exception as error:
        raise Refused(
            f"{runtime} cannot run the exported model on two rows of the dataset: {error}"
        ) from error
