"""The protocol by which the model of a trainer's last checkpoint gets a runtime."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from engine.artefact import ModelNotes, Task, TensorSignature
from engine.protocol import Refused
from engine.runtime.tensors import Tensors
from projects.registered import registered
from training.contract import DatasetFiles

SHIPPED = "training.runtimes.targets"
GROUP = "orrery.runtime_targets"
"""Entry points by which an installed distribution registers targets, each under the name of its
runtime: `name = module:OBJECT`."""
OBJECT = "TARGET"
"""Name of the object in a shipped module."""


class Unsuited(Refused):
    """A runtime cannot run the model, and another may."""


@dataclass(frozen=True)
class Described:
    """What a model says of itself."""

    inputs: list[TensorSignature]
    outputs: list[TensorSignature]
    classes: list[str] = field(default_factory=list)
    """Classes in the order of its scores; empty where it does not say."""


def task_of(dataset: DatasetFiles | None) -> Task:
    """What a model of the dataset predicts; a model without one controls."""
    if dataset is None:
        return "control"
    return dataset.task or ("classification" if dataset.classes else "regression")


class Target(ABC):
    """One runtime that models are exported to."""

    preference: ClassVar[int] = 0
    """Of several that take a model, the one with the highest is tried first."""

    @property
    @abstractmethod
    def expects(self) -> str:
        """What a trainer leaves for it, in a few words for errors."""

    @abstractmethod
    def takes(self, checkpoint: Path) -> bool:
        """Whether the checkpoint holds a model that can be exported to it."""

    @abstractmethod
    def export(self, checkpoint: Path, folder: Path) -> None:
        """Write the model as the runtime reads it, into the folder. Raises Refused."""

    @abstractmethod
    def describe(self, folder: Path, dataset: DatasetFiles | None, notes: ModelNotes) -> Described:
        """The tensors and classes of the exported model. Raises Refused."""

    def require_agreement(  # noqa: B027 - what is served as it is agrees
        self, checkpoint: Path, folder: Path, tensors: Tensors
    ) -> None:
        """Return when the exported model, in a folder with its signature, gives for these rows
        what the trainer's own gives. Raises Refused."""


@functools.cache
def targets() -> Mapping[str, Target]:
    """Targets by the name of their runtime, the preferred first."""
    found = registered(SHIPPED, OBJECT, GROUP)
    return dict(sorted(found.items(), key=lambda item: -item[1].preference))
