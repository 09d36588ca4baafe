"""Checkpoints of trials that run on other machines than their job."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.checkpoints import CHECKPOINTS, CheckpointFolder
from engine.trial_folder import REPORTS, SEARCH


class Place:
    """The machine of the job, as its trials on others see it."""

    def __init__(self, workdir: Path) -> None:
        self._node = ray.get_runtime_context().get_node_id()
        # Not `soft`: on another machine the actor could not write into the work directory. No CPU
        # is reserved for it, because it would be missing for a trial.
        here = NodeAffinitySchedulingStrategy(self._node, soft=False)
        actor = ray.remote(_Keeper).options(num_cpus=0, scheduling_strategy=here)
        self._keeper: Any = actor.remote(str(workdir))

    def is_here(self) -> bool:
        """Whether this process runs on the machine of the job."""
        return ray.get_runtime_context().get_node_id() == self._node

    def trial_folder(self, home: Path, number: int) -> Path:
        """Work directory of the trial below that of its job."""
        return home / SEARCH / f"{number:04d}"

    def writer(self, trial: int) -> Callable[[str], None] | None:
        """Appends to what the trial reported, on the machine of the job; None on that itself."""
        return None if self.is_here() else lambda line: self._write(trial, line)

    def _write(self, trial: int, line: str) -> None:
        ray.get(self._keeper.write.remote(trial, line))

    def keep(self, trial: int, number: int, folder: Path) -> None:
        """Copy the checkpoint of the trial to the machine of the job. Raises OSError."""
        ray.get(self._keeper.keep.remote(trial, number, _packed(folder)))

    def newest(self, trial: int, into: Path) -> int:
        """Number of the trial's newest checkpoint, now in the folder; 0 where there is none."""
        number, content = ray.get(self._keeper.newest.remote(trial))
        if number:
            _unpack(content, into)
        return number


class Distant:
    """Checkpoints of a trial, kept on the machine of the job and on this one."""

    def __init__(self, folder: Path, place: Place, trial: int) -> None:
        """`folder` is the trial's work directory on this machine."""
        self._kept = CheckpointFolder(folder / CHECKPOINTS)
        self._brought, self._place, self._trial = folder / "brought", place, trial

    def save(self, source: Path, number: int) -> Path:
        """Folder of the checkpoint on this machine. Raises OSError."""
        self._place.keep(self._trial, number, source)
        return self._kept.save(source, number)

    def newest_valid(self) -> tuple[int, Path] | None:
        """Number and folder of the newest checkpoint, brought from the machine of the job."""
        number = self._place.newest(self._trial, self._brought)
        return (number, self._brought) if number else None


class _Keeper:
    """Works on the machine of the job."""

    def __init__(self, workdir: str) -> None:
        self._folder = Path(workdir, SEARCH)

    def write(self, trial: int, line: str) -> None:
        path = self._folder / f"{trial:04d}" / REPORTS
        with path.open("a", encoding="utf-8") as file:
            file.write(line)

    def keep(self, trial: int, number: int, content: bytes) -> None:
        draft = self._folder / f"{trial:04d}" / "received"
        _unpack(content, draft)
        try:
            self._checkpoints(trial).save(draft, number)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def newest(self, trial: int) -> tuple[int, bytes]:
        newest = self._checkpoints(trial).newest_valid()
        return (newest[0], _packed(newest[1])) if newest else (0, b"")

    def _checkpoints(self, trial: int) -> CheckpointFolder:
        return CheckpointFolder(self._folder / f"{trial:04d}" / CHECKPOINTS)


def _packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, arcname=".")
    return content.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
