"""What every worker of a training job does: begin a session, seed, and call the trainer."""

import importlib
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.protocol import Refused
from training import session
from training.contract import TrainingSpec
from training.data import brought_here
from training.journal import Journal


def train(
    spec: TrainingSpec, config: dict[str, Any], book: Journal | None = None
) -> session.Reporter:
    """The reporter of this process, once the trainer has ended and its metrics are sent.

    Raises Refused when the trainer cannot be imported, TryAgain when MLflow does not answer, and
    whatever the trainer raises.
    """
    reporter = session.begin(spec, book)
    _seed(spec.seed)
    if spec.tracking:
        # What the trainer itself logs by `mlflow.log_...` goes to the job's mlflow_run.
        os.environ["MLFLOW_TRACKING_URI"] = spec.tracking.address
        os.environ["MLFLOW_RUN_ID"] = spec.tracking.run_id
    if "dataset" in config:
        here = Path(tempfile.gettempdir(), "orrery-datasets", spec.job) if book else spec.workdir
        config = {**config, "dataset": brought_here(config["dataset"], here / "dataset")}
    _trainer(spec)(config)
    reporter.close()
    return reporter


def _trainer(spec: TrainingSpec) -> Callable[[dict[str, Any]], None]:
    module, _, function = spec.trainer.partition(":")
    sys.path[:0] = [folder for folder in spec.python_path if folder not in sys.path]
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise Refused(f"the trainer {spec.trainer!r} cannot be imported: {error}") from error


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It guards against reading memory that was never written, at the price of writing it all.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
