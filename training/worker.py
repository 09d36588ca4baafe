"""What every worker of a training job does: begin a session, seed, and call the trainer."""

import contextlib
import importlib
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine import silence
from engine.protocol import Refused
from training import fluent_mlflow, session
from training.contract import TrainingSpec
from training.data import GivenDataset, brought_here
from training.journal import Journal
from training.start import Start

SCRATCH = "scratch"
"""Folder that a trainer works in, below that of its job."""


def train(
    spec: TrainingSpec,
    config: dict[str, Any],
    book: Journal | None = None,
    start: Start | None = None,
) -> session.Reporter:
    """The reporter of this process, once the trainer has ended and its metrics are sent.

    Raises Refused when the trainer cannot be imported, TryAgain when MLflow does not answer, and
    whatever the trainer raises.
    """
    silence.watch(spec.stall_s)
    reporter = session.begin(spec, book, start)
    # A worker of several may run on another machine, which does not have the work directory.
    here = elsewhere(spec) if book else spec.workdir
    if "dataset" in config:
        config = {**config, "dataset": brought_here(config["dataset"], here / "dataset")}
    call_trainer(spec, config, here)
    reporter.close()
    return reporter


def elsewhere(spec: TrainingSpec) -> Path:
    """Folder of the job on a machine that does not have its work directory."""
    return Path(tempfile.gettempdir(), "orrery", spec.job)


def call_trainer(spec: TrainingSpec, config: dict[str, Any], here: Path) -> None:
    """Let the trainer learn from the dataset of the config, whose files are on this machine; it
    works in a folder below `here`.

    Raises Refused when the trainer cannot be imported, and whatever the trainer raises.
    """
    _seed(spec.seed)
    if spec.tracking:
        fluent_mlflow.enter(spec.tracking)
    if "dataset" in config:
        config = {**config, "dataset": GivenDataset(config["dataset"])}
    trainer = _trainer(spec)
    with _scratch_folder(here / SCRATCH):
        _call(trainer, config, spec)


@contextlib.contextmanager
def _scratch_folder(folder: Path) -> Iterator[None]:
    """The job's own working directory, so that files of two jobs never meet, nor fill the checkout.

    It is kept for a later attempt of the job, and removed with the work directory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _call(
    trainer: Callable[[dict[str, Any]], None], config: dict[str, Any], spec: TrainingSpec
) -> None:
    """Let the trainer work. Raises Refused where it ends itself with an error code, or misses a
    file of its own: neither heals by another attempt."""
    try:
        trainer(config)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise Refused(f"{spec.trainer} ended itself by sys.exit({end.code!r})") from end


def _trainer(spec: TrainingSpec) -> Callable[[dict[str, Any]], None]:
    module, _, function = spec.trainer.partition(":")
    sys.path[:0] = [folder for folder in spec.python_path if folder not in sys.path]
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise Refused(f"the trainer {spec.trainer!r} cannot be imported: {error}") from error


def _seed(seed: int) -> None:
    random.seed(seed)
    # NumPy takes seeds of 32 bits.
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    # Only a warning, because some operations have no deterministic implementation.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It guards against reading memory that was never written, at the price of writing it all.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
