"""What happens at every `ray.train.report`: journal, checkpoint, metrics, and the way back.

Ray Train's local mode neither stores checkpoints nor gives one back at the start; the local
reporter does both. With several workers Ray stores and restores, and the reporter journals.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import ray.train
from ray.train import Checkpoint

# Private: Ray Train has no public way to replace `report` within the training process.
from ray.train.v2._internal.execution.train_fn_utils import (
    DistributedTrainFnUtils,
    LocalTrainFnUtils,
    set_train_fn_utils,
)

from engine import silence
from engine.checkpoints import CHECKPOINTS, CheckpointFolder
from engine.progress import ProgressLog
from engine.protocol import Diverged, TryAgain, is_outage
from training.contract import TrainingSpec
from training.journal import Journal
from training.metric_log import MetricLog
from training.metrics import Numbers, numbers_of
from training.start import Start


class Record(Protocol):
    """What becomes of the reports of a training."""

    def next_number(self) -> int:
        """Number of the report now being made."""
        ...

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Take one report. Raises Diverged when a metric is not a finite number."""
        ...

    def close(self) -> None:
        """Send what is buffered."""
        ...


class Checkpoints(Protocol):
    """Where checkpoints are kept."""

    def save(self, source: Path, number: int) -> Path:
        """Folder of the checkpoint, copied from `source`. Raises OSError."""
        ...

    def newest_valid(self) -> tuple[int, Path] | None:
        """Number and folder of the newest whole checkpoint."""
        ...


R = TypeVar("R", bound=Record)


def finite_numbers(metrics: Mapping[str, Any], unit: str, number: int) -> Numbers:
    """Every metric of the report that stands for one number. Raises Diverged where one is not
    finite."""
    numbers = numbers_of(metrics)
    for name, value in numbers.values.items():
        if not math.isfinite(value):
            # Another attempt would diverge again, because seed and rows are the same.
            raise Diverged(
                f"training diverged: {name} is {value} at {unit} {number}; expected a finite "
                "number. Try a smaller learning rate, and look for extreme features"
            )
    return numbers


class Session:
    """The record of one attempt at a training job, kept by the process of rank 0."""

    def __init__(self, spec: TrainingSpec, first: int, book: Journal | None = None) -> None:
        unit, total = spec.units
        self._unit, self._reports = unit, first
        write = book.write if book else None
        self._progress = ProgressLog(spec.workdir, unit, total, first, write)
        self._metrics = MetricLog(spec.tracking, resumed=first > 0) if spec.tracking else None
        self._remarked: set[str] = set()
        self.first_report_at: float | None = None
        self._progress.report(first, "resuming" if first else "training starts")

    @property
    def reports(self) -> int:
        """Reports so far, those of earlier attempts included."""
        return self._reports

    def next_number(self) -> int:
        """Number of the report now being made."""
        return self._reports + 1

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Journal one report. Raises Diverged when a metric is not a finite number."""
        self.first_report_at = self.first_report_at or time.time()
        self._reports += 1
        numbers, remarks = finite_numbers(metrics, self._unit, self._reports)
        step = int(numbers.get(self._unit, self._reports))
        shown = {k: v for k, v in numbers.items() if k != self._unit}
        # Each remark once: the next report has the same metrics.
        fresh = [text for name, text in remarks.items() if name not in self._remarked]
        self._remarked.update(remarks)
        self._progress.report(step, "; ".join(fresh), shown)
        if self._metrics:
            self._metrics.add(shown, step)

    def close(self) -> None:
        """Send what is buffered."""
        self._progress.close()
        if self._metrics:
            self._metrics.close()


class LocalReporter(LocalTrainFnUtils, Generic[R]):
    """Ray Train's functions for one worker in this process, with durable checkpoints."""

    def __init__(
        self, spec: TrainingSpec, checkpoints: Checkpoints, begin_record: Callable[[int], R]
    ) -> None:
        """The record begins after so many reports as the newest checkpoint has behind it."""
        super().__init__(experiment_name=spec.project)
        self._process = os.getpid()
        self._checkpoints = checkpoints
        newest = checkpoints.newest_valid()
        self.resumed_from = newest[0] if newest else 0
        self._last_checkpoint = Checkpoint.from_directory(str(newest[1])) if newest else None
        self.session = begin_record(self.resumed_from)

    def report(
        self, metrics: dict[str, Any], checkpoint: Checkpoint | None = None, *rest: Any, **more: Any
    ) -> None:
        """Keep the checkpoint, then journal the metrics: what is journalled can be resumed.

        Raises TryAgain when the checkpoint cannot be kept for a reason that may pass.
        """
        if os.getpid() != self._process:
            return  # A copy that the trainer has forked; the job has one record.
        self._last_metrics = metrics
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                kept = self._kept(Path(folder))
            # Ray's `get_checkpoint` returns this attribute.
            self._last_checkpoint = Checkpoint.from_directory(str(kept))
        self.session.record(metrics)

    def _kept(self, folder: Path) -> Path:
        try:
            return self._checkpoints.save(folder, self.session.next_number())
        except OSError as error:
            if is_outage(error):
                raise TryAgain(f"the checkpoint cannot be kept: {error}") from error
            raise

    def close(self) -> None:
        """Send what is buffered."""
        self.session.close()


class DistributedReporter(DistributedTrainFnUtils):
    """Ray Train's functions in a worker process; rank 0 also journals."""

    def __init__(self, spec: TrainingSpec, book: Journal, start: Start | None = None) -> None:
        is_first = ray.train.get_context().get_world_rank() == 0
        self._first: Checkpoint | None = None
        resumed = self.get_checkpoint() is not None
        first = book.reports() if is_first and resumed else 0
        if not resumed and start is not None:
            self._first, first = start.checkpoint(), spec.start_reports
        self.session = Session(spec, first, book) if is_first else None

    def get_checkpoint(self) -> Checkpoint | None:
        """The newest of this training, or the one that it began with."""
        return super().get_checkpoint() or self._first

    def report(
        self, metrics: dict[str, Any], checkpoint: Checkpoint | None = None, *rest: Any, **more: Any
    ) -> None:
        """Hand the report to Ray, then journal it."""
        silence.heard()
        super().report(metrics, checkpoint, *rest, **more)
        if self.session:
            self.session.record(metrics)

    def close(self) -> None:
        """Send what is buffered."""
        if self.session:
            self.session.close()


Reporter = LocalReporter[Session] | DistributedReporter


def begin(spec: TrainingSpec, book: Journal | None = None, start: Start | None = None) -> Reporter:
    """The reporter that this process's `ray.train.report` now goes through; workers on other
    machines journal in the book of the job's own machine, and are given the start."""
    if book:
        reporter = DistributedReporter(spec, book, start)
    else:
        checkpoints = CheckpointFolder(spec.workdir / CHECKPOINTS)
        reporter = LocalReporter(spec, checkpoints, lambda first: Session(spec, first))
    set_train_fn_utils(reporter)
    return reporter
