"""The trainer of finished models, which learns nothing: it brings one into the form that is
registered."""

import tempfile
from pathlib import Path
from typing import Any, Literal

import ray.train
from pydantic import BaseModel
from ray.train import Checkpoint

from engine.artefact import NOTES, ONNX, ModelNotes
from training.contract import DatasetFiles
from training.finished.format import Described, format_of
from training.finished.places import fetched
from training.finished.scores import parameters_in


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
    dataset = DatasetFiles.model_validate(dict(config["dataset"])) if "dataset" in config else None
    with tempfile.TemporaryDirectory() as scratch:
        place = fetched(settings.model, Path(scratch, "fetched"))
        folder = Path(scratch, "checkpoint")
        folder.mkdir()
        kind, file = format_of(place)
        described = kind.convert(file, folder, dataset)
        metrics = _size(folder)
        (folder / NOTES).write_text(_notes(settings, described).model_dump_json())
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(str(folder)))


def _notes(settings: Hyperparameters, described: Described) -> ModelNotes:
    """What is declared of the model, else what its file says."""
    notes = described.notes
    return ModelNotes(
        inputs=settings.inputs or notes.inputs,
        answer=settings.answer or notes.answer,
        actions=settings.actions,
        classes=settings.classes or described.classes,
    )


def _size(folder: Path) -> dict[str, int]:
    """Bytes of the model, and of ONNX the numbers that it has learned."""
    size = {"bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())}
    model = folder / ONNX
    return {**size, "parameters": parameters_in(model)} if model.exists() else size
