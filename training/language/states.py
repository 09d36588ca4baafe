"""What a training of texts goes on from, by torch's distributed checkpoints: of however many
workers wrote one, as many or others read it.

Every worker writes what it holds. Several of them write while they go on learning, and the report
of a checkpoint follows when it is whole: one that could not be written whole is none, and fails the
training, which goes on from the one before. Such checkpoints hold pickles, so they are read from
the job's own storage alone.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointUploadMode
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save, save

STATE = "state"
"""Folder of the weights and of what the optimizer knows."""
NOTES = "training.json"
"""File of the rest."""
EARLIER = "state.pt"
"""File of the state, as versions before wrote it."""
LEARNED = StateDictOptions(ignore_frozen_params=True, strict=False)
"""Weights that nothing learns are those of the pretrained network."""


class State:
    """The weights that are learned, what the optimizer knows, and what else is to be kept."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._network, self._optimizer = network, optimizer
        self.epoch = 0
        """Epochs that are done."""
        self.before: dict[str, float] = {}
        """Metrics before anything was learned."""
        context = ray.train.get_context()
        self._is_first = context.get_world_rank() == 0
        self._is_shared = context.get_world_size() > 1
        # Apart from the group that gradients go through, whose order of messages is another.
        self._group = _group() if self._is_shared else None
        self._saving: Future[Any] | None = None

    def restore(self) -> bool:
        """Take up the newest checkpoint; whether there is one."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return False
        with checkpoint.as_directory() as folder:
            if Path(folder, EARLIER).exists():
                self._restore_earlier(Path(folder, EARLIER))
                return True
            state = self._values()
            with _own_errors():
                load(state, checkpoint_id=Path(folder, STATE), process_group=self._group)
            notes = json.loads(Path(folder, NOTES).read_text())
        set_model_state_dict(self._network, state["model"], options=LEARNED)
        optimizer = state["optimizer"]
        set_optimizer_state_dict(self._network, self._optimizer, optimizer, options=LEARNED)
        self.epoch, self.before = notes["epoch"], notes["before"]
        return True

    def report(self, metrics: dict[str, float]) -> None:
        """Report the metrics with a checkpoint, which several workers write while they go on."""
        if not self._is_shared:
            self.report_with(metrics, lambda folder: None)
            return
        self._wait()
        # Of the job's working directory: it is removed once Ray has it.
        folder = Path(tempfile.mkdtemp(prefix="checkpoint-", dir=".")).absolute()
        self._write_notes(folder)
        saving = async_save(self._values(), checkpoint_id=folder / STATE, process_group=self._group)
        assert isinstance(saving, Future)
        self._saving = saving
        storage: Any = ray.train.get_context().get_storage()

        def kept(checkpoint: Checkpoint, name: str) -> Checkpoint:
            with _own_errors():
                saving.result()
            return storage.persist_current_checkpoint(checkpoint, name)

        ray.train.report(
            metrics,
            checkpoint=Checkpoint.from_directory(str(folder)),
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=True,
            checkpoint_upload_fn=kept,
        )

    def report_with(self, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        """Report the metrics with a checkpoint that also has what `write` writes into a folder at
        the worker of rank 0, and return when all of it is kept."""
        self._wait()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self._write_notes(folder)
            values, place = self._values(), folder / STATE
            with _own_errors():
                save(values, checkpoint_id=place, process_group=self._group)
            if self._is_first:
                write(folder)
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(name))

    def _wait(self) -> None:
        if self._saving is not None:
            with _own_errors():
                self._saving.result()

    def _values(self) -> dict[str, Any]:
        # Of a weight that is used twice the library leaves out one name.
        names = self._network.named_parameters(remove_duplicate=False)
        frozen = {name.removeprefix("module.") for name, each in names if not each.requires_grad}
        weights = get_model_state_dict(self._network, options=LEARNED)
        return {
            "model": {name: each for name, each in weights.items() if name not in frozen},
            "optimizer": get_optimizer_state_dict(self._network, self._optimizer, options=LEARNED),
        }

    def _write_notes(self, folder: Path) -> None:
        notes = {"epoch": self.epoch, "before": self.before}
        if self._is_first:
            (folder / NOTES).write_text(json.dumps(notes))

    def _restore_earlier(self, file: Path) -> None:
        state = torch.load(file, weights_only=True, map_location="cpu")
        set_model_state_dict(self._network, state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.epoch = int(state["epoch"])


def _group() -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo")
    # A number stands for a group that this worker is none of.
    assert isinstance(group, dist.ProcessGroup)
    return group


@contextmanager
def _own_errors() -> Iterator[None]:
    """Raises the first error of any worker, such as that of a full disk, which torch wraps in one
    that is no Exception."""
    try:
        yield
    except CheckpointException as error:
        first, _ = next(iter(error.failures.values()))
        raise first from error
