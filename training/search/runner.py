"""One trial in a process of Ray: the ordinary trainer, whose reports go to the search."""

import os
import queue
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from ray import tune
from ray.train import Checkpoint

# Private: Ray Train has no public way to replace `report` within the training process.
from ray.train.v2._internal.execution.train_fn_utils import set_train_fn_utils

from engine import lease, silence
from engine.checkpoints import CHECKPOINTS, CheckpointFolder
from engine.progress import ProgressLog
from engine.protocol import Refused, TryAgain, is_outage, legible
from training import worker
from training.contract import MlflowRun, TrainingSpec
from training.data import brought_here
from training.metrics import numbers_of
from training.search.distance import Distant, Place
from training.session import Checkpoints, LocalReporter, finite_numbers

NUMBER, VALUES, RUN = "trial", "values", "mlflow_run_id"
"""Keys of the config that Ray Tune hands to a trial."""
REPORT, METRICS = "report", "metrics"
FAILURE, PASSES, TRACE, SPOILT = "failure", "passes", "trace", "spoilt"
"""Keys of what a trial reports to Ray Tune."""
DONE = "done"
"""Ray Tune's own key of a last result."""
RESET_S = 5.0
"""How long the next trial waits for the trainer of the last to end."""


class TrialRecord:
    """The reports of a trial, handed over one by one: the trainer goes on once the search has
    decided."""

    def __init__(self, unit: str, first: int, log: ProgressLog, turns: "Turns") -> None:
        self._unit, self._reports, self._log, self._turns = unit, first, log, turns

    def next_number(self) -> int:
        """Number of the report now being made."""
        return self._reports + 1

    def write_down(self, metrics: Mapping[str, Any]) -> None:
        """Keep the report that is being made. Raises Refused when a metric is not a finite
        number."""
        numbers = finite_numbers(metrics, self._unit, self.next_number())
        self._log.report(self.next_number(), metrics=numbers.values)

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Hand over one report. Raises SystemExit where the search ends the trial."""
        self._reports += 1
        values = numbers_of(metrics).values
        self._turns.hand_over({REPORT: self._reports, METRICS: values})

    def close(self) -> None:
        """Nothing is buffered."""


class TrialReporter(LocalReporter[TrialRecord]):
    """Ray Train's functions for one trial."""

    def report(
        self, metrics: dict[str, Any], checkpoint: Checkpoint | None = None, *rest: Any, **more: Any
    ) -> None:
        """Write the report down before its checkpoint is kept: a trial that goes on from there
        does not make it again."""
        self.session.write_down(metrics)
        super().report(metrics, checkpoint, *rest, **more)


class Turns:
    """Ray Tune's thread and the trainer's: one waits while the other works."""

    def __init__(self) -> None:
        self._results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._go_on = threading.Semaphore(0)
        self._is_stopped = False

    def hand_over(self, result: dict[str, Any]) -> None:
        """Give a result, and wait for the turn. Raises SystemExit where there is to be none."""
        self._results.put(result)
        self._go_on.acquire()
        if self._is_stopped:
            sys.exit(0)

    def finish(self, result: dict[str, Any]) -> None:
        """Give the last result."""
        self._results.put(result)

    def result(self) -> dict[str, Any]:
        """The next result, once the trainer has one."""
        return self._results.get()

    def go_on(self) -> None:
        """Let the trainer work until its next result."""
        self._go_on.release()

    def stop(self) -> None:
        """Let the trainer end itself at its next result, or at once where it waits."""
        self._is_stopped = True
        self._go_on.release()


class TrialJob(NamedTuple):
    """The job that trials belong to."""

    spec: TrainingSpec
    given: dict[str, Any]
    """Config of the job's trainer."""
    gpus: int
    """Of each trial."""
    place: Place


class TrialRunner(tune.Trainable):
    """A process of Ray that runs one trial after another.

    Not a function of Tune: in those Ray refuses the `ray.train` that trainers report by.
    """

    def setup(self, config: dict[str, Any], job: TrialJob | None = None) -> None:
        """Take the job, and its first trial."""
        assert job  # Tune gives it to every process
        self._job = job
        self._prepare(config)

    def _prepare(self, config: dict[str, Any]) -> None:
        self._began, self._has_failed = False, False
        self._turns = Turns()
        self._thread = threading.Thread(target=self._work, args=(config, self._turns), daemon=True)

    def step(self) -> dict[str, Any]:
        """The next report. Raises RuntimeError after that of a failure that may have spoilt the
        process: Ray then begins the next trial in a new one."""
        if self._has_failed:
            raise RuntimeError("the trainer has raised")
        if self._began:
            self._turns.go_on()
        else:
            self._began = True
            self._thread.start()
        result = self._turns.result()
        self._has_failed = FAILURE in result
        return result

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Whether this process can run the next trial."""
        self._turns.stop()
        if self._began:
            self._thread.join(RESET_S)
        if self._thread.is_alive():
            return False
        self._prepare(new_config)
        return True

    def cleanup(self) -> None:
        """End the trainer."""
        self._turns.stop()

    def _work(self, config: dict[str, Any], turns: Turns) -> None:
        try:
            _train(config, self._job, turns)
        except (Exception, SystemExit) as error:
            passes = isinstance(error, TryAgain) or (
                isinstance(error, OSError) and is_outage(error)
            )
            text = str(error) or type(error).__name__
            if not isinstance(error, (Refused, TryAgain)):
                text = f"{type(error).__name__}: {text}"
            trace = legible(traceback.format_exc())
            # What a trainer is refused for is no bug; whatever else it raises may leave a device
            # or memory in disorder.
            is_spoilt = not isinstance(error, Refused)
            failure = {FAILURE: legible(text), PASSES: passes, TRACE: trace, SPOILT: is_spoilt}
            turns.finish(failure)
        else:
            turns.finish({DONE: True})


def _train(config: dict[str, Any], job: TrialJob, turns: Turns) -> None:
    spec, given, gpus, place = job
    silence.watch(spec.stall_s)
    os.environ.update(spec.env_vars)
    if not gpus:
        # Trainers use any GPU that they find, and this job has reserved none.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(spec.cpus_per_worker)
    number, values = config[NUMBER], config[VALUES]
    own = spec.model_copy(
        update={
            "hyperparameters": {**spec.hyperparameters, **values},
            "tracking": _tracking(spec.tracking, config[RUN]),
            "search": None,
        }
    )
    home = spec.workdir if place.is_here() else worker.elsewhere(spec)
    folder = place.trial_folder(home, number)
    checkpoints: Checkpoints = (
        CheckpointFolder(folder / CHECKPOINTS)
        if place.is_here()
        else Distant(folder, place, number)
    )
    unit, _ = own.units
    log = ProgressLog(folder, "report", None, write=place.writer(number))
    reporter = TrialReporter(own, checkpoints, lambda first: TrialRecord(unit, first, log, turns))
    set_train_fn_utils(reporter)
    trainer_config = {**given, **values}
    if "dataset" in given:
        # Trials side by side on one machine share the files.
        with lease.alone(home / "dataset.lock"):
            trainer_config["dataset"] = brought_here(given["dataset"], home / "dataset")
    worker.call_trainer(own, trainer_config, folder)


def _tracking(job: MlflowRun | None, run_id: str) -> MlflowRun | None:
    """The trial's mlflow_run, or the job's while MLflow has not made one."""
    return job.model_copy(update={"run_id": run_id}) if job and run_id else job
