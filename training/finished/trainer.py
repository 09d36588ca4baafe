"""The trainer of finished models, which learns nothing: it brings one into the form that is
registered."""

import tempfile
from pathlib import Path
from typing import Any, Literal

import ray.train
from pydantic import BaseModel
from ray.train import Checkpoint

from engine.artefact import NOTES, ONNX, ModelNotes
from engine.protocol import Refused
from training.contract import DatasetFiles
from training.finished.format import Described, format_of
from training.finished.places import fetched
from training.finished.scores import in_order, parameters_in


class Hyperparameters(BaseModel):
    """What may be declared for `train`."""

    model: str
    """A path, `s3://BUCKET/KEY`, `mlflow:models:/NAME/VERSION`, `mlflow:runs:/RUN/NAME` or
    `hf:OWNER/NAME[@REVISION][:FILE]`."""
    classes: list[str] = []
    """Classes in the order of the model's scores; by default the file's, else the dataset's."""
    inputs: dict[str, list[str]] = {}
    """Columns that fill each input, in order; by default an input has the name of its column."""
    answer: str = ""
    """Output that answers, where several could."""
    actions: Literal["scores", "values"] = "scores"
    """What the outputs of a control policy are: a score for each action, or the action's values."""


def train(config: dict[str, Any]) -> None:
    """Bring a finished model into the form that is registered; reports its size once.

    Hyperparameters: the fields of `Hyperparameters`. Raises engine.protocol.Refused for a file
    that is no such model, or does not fit the dataset, and OSError where it cannot be reached.
    """
    settings = Hyperparameters.model_validate(config)
    dataset = DatasetFiles.model_validate(config["dataset"]) if "dataset" in config else None
    with tempfile.TemporaryDirectory() as scratch:
        place = fetched(settings.model, Path(scratch, "fetched"))
        folder = Path(scratch, "checkpoint")
        folder.mkdir()
        kind, file = format_of(place)
        described = kind.convert(file, folder, dataset)
        _complete(folder, settings, described, dataset)
        model = folder / ONNX
        metrics = {"parameters": parameters_in(model), "bytes": model.stat().st_size}
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(str(folder)))


def _complete(
    folder: Path, settings: Hyperparameters, described: Described, dataset: DatasetFiles | None
) -> None:
    """Put the scores into the order of the dataset's classes, and write down what fills what."""
    notes = described.notes
    declared = {
        "inputs": settings.inputs or notes.inputs,
        "answer": settings.answer or notes.answer,
        "actions": settings.actions,
    }
    classes = settings.classes or described.classes
    if dataset and dataset.classes and classes:
        in_order(folder / ONNX, positions(classes, dataset.classes), declared["answer"])
    text = ModelNotes.model_validate(declared).model_dump_json()
    (folder / NOTES).write_text(text)


def positions(known: list[str], wanted: list[str]) -> list[int]:
    """Position of each wanted class among those that the model knows.

    Raises Refused where they are not the same. Numbers are compared as numbers: 1 is 1.0.
    """
    place = {_plain(name): position for position, name in enumerate(known)}
    missing = [name for name in wanted if _plain(name) not in place]
    if missing or len(known) != len(wanted):
        raise Refused(
            f"the model knows the classes {', '.join(known[:20])}, expected those of the dataset: "
            f"{', '.join(wanted[:20])}; name the classes in the order of the model's scores by "
            "hyperparameters: {classes: [...]}, or bring the model of this dataset"
        )
    return [place[_plain(name)] for name in wanted]


def _plain(name: str) -> str | float:
    try:
        return float(name)
    except ValueError:
        return name
