"""Where a training begins: with the checkpoint of another one, or with nothing."""

import io
import tarfile
import tempfile
from typing import Any

import ray
from ray.train import Checkpoint

from engine.checkpoints import CHECKPOINTS, CheckpointFolder
from engine.protocol import Refused
from training.contract import TrainingSpec


def bring(spec: TrainingSpec) -> None:
    """Put the checkpoint that the training goes on from where its own will lie; what it has reached
    itself comes first. Raises Refused where the checkpoint is not there."""
    folder = CheckpointFolder(spec.workdir / CHECKPOINTS)
    if spec.start is None or folder.newest_valid() is not None:
        return
    if not spec.start.is_dir():
        raise Refused(f"the checkpoint to go on from is not there: {spec.start}")
    folder.save(spec.start, spec.start_reports)


class Start:
    """The checkpoint to go on from, for workers on any machine."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def checkpoint(self) -> Checkpoint:
        """The checkpoint, as files of this machine."""
        folder = tempfile.mkdtemp(prefix="orrery-start-")
        with tarfile.open(fileobj=io.BytesIO(ray.get(self._content))) as packed:
            packed.extractall(folder, filter="data")
        return Checkpoint.from_directory(folder)


def given_to_workers(spec: TrainingSpec) -> Start | None:
    """What workers of the job's Ray begin with; None where they begin with nothing."""
    if spec.start is None:
        return None
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as packed:
        packed.add(spec.start, arcname=".")
    return Start(ray.put(content.getvalue()))
