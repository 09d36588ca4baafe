"""The protocol of a format in which finished models are kept."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.artefact import ModelNotes
from engine.protocol import Refused
from projects.registered import registered
from training.contract import DatasetFiles

SHIPPED = "training.finished.formats"
GROUP = "orrery.model_formats"
"""Entry points by which an installed distribution registers formats: `name = module:OBJECT`."""
OBJECT = "FORMAT"
"""Name of the object in a shipped module."""
UNSAFE = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".pt", ".pth", ".ckpt", ".bin", ".h5")
"""Ends of the names of files that run code when they are read, or may."""


@dataclass(frozen=True)
class Described:
    """What a file says of its model beside its tensors."""

    classes: list[str] = field(default_factory=list)
    """Classes in the order of the scores; empty where the file does not say."""
    notes: ModelNotes = field(default_factory=ModelNotes)


class ModelFormat(ABC):
    """One format of files or folders."""

    @property
    @abstractmethod
    def expects(self) -> str:
        """What it takes, in a few words for errors."""

    @abstractmethod
    def recognises(self, place: Path) -> bool:
        """Whether the file or folder, which exists, is of the format."""

    @abstractmethod
    def convert(self, place: Path, folder: Path, dataset: DatasetFiles | None) -> Described:
        """What the file says of the model that is now in the folder, as a checkpoint would hold it:
        in ONNX, else as another runtime takes it.

        No code of the file is run. Raises Refused.
        """


@functools.cache
def model_formats() -> Mapping[str, ModelFormat]:
    """Formats by name."""
    return registered(SHIPPED, OBJECT, GROUP)


def format_of(place: Path) -> tuple[ModelFormat, Path]:
    """The format of the file or folder, and the file that it is found in: of a folder that is no
    model itself the only one in it that is.

    Raises Refused.
    """
    known = model_formats().values()
    found = [(each, place) for each in known if each.recognises(place)]
    if not found and place.is_dir():
        inside = sorted(file for file in place.rglob("*") if file.is_file())
        found = [(each, file) for file in inside for each in known if each.recognises(file)]
    if len(found) == 1:
        return found[0]
    expected = "; ".join(sorted(each.expects for each in known))
    if found:
        files = ", ".join(str(file.relative_to(place)) for _, file in found[:8])
        raise Refused(f"{place.name} holds several models: {files}; name one of them")
    got = _unsafe(place)
    if got:
        raise Refused(
            f"{got} runs code when it is read, and is refused, because anybody may have written "
            f"it; expected {expected}. Save the model with skops.io.dump, or export it to ONNX"
        )
    raise Refused(f"{place.name} is no model that can be read; expected {expected}")


def _unsafe(place: Path) -> str:
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    return next((file.name for file in files if file.suffix.lower() in UNSAFE), "")
