"""The search as Ray Tune runs it: one process for each trial that runs, used again and again.

timeout: the job's; a budget of time ends the search with the best so far.
retry: a trial whose process ended without a word is tried again from its newest checkpoint, three
    times in all; what a trainer raises is final for its trial.
cancel: the processes of Ray are of the engine's process group, and end with it.
duplicate: a trial that an earlier attempt ended is not run again; one that it began goes on from
    its newest checkpoint.
partial write: a trial's record is written whole; half a line of its reports is passed over.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from projects.search import Search
from training.contract import TrainingSpec
from training.search.distance import Place
from training.search.runner import (
    FAILURE,
    METRICS,
    NUMBER,
    PASSES,
    REPORT,
    RUN,
    SPOILT,
    TRACE,
    VALUES,
    TrialJob,
    TrialRunner,
)
from training.search.study import Study

SETTINGS = {
    # Tune would write every report to three files of its own.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A trainer that does not report does not see that it is to end.
    "TUNE_FORCE_TRIAL_CLEANUP_S": "3",
    # The search keeps its own state, so that of Tune is written at the end alone.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_ENDED = "its process ended without a word; it may have used more memory than there is"
FIELD = f"{METRICS}/"
"""How Tune names the metrics of a report, flat."""


def run(
    spec: TrainingSpec, search: Search, study: Study, given: dict[str, Any], *, use_gpu: bool
) -> None:
    """Run trials until the study is over; `given` is the config of the job's trainer.

    Raises Refused or TryAgain where the study does.
    """
    os.environ.update(SETTINGS)
    gpus = spec.gpus_per_worker if use_gpu else 0
    trials = _Trials(study)
    job = TrialJob(spec, given, gpus, Place(spec.workdir))
    trainable = tune.with_parameters(TrialRunner, job=job)
    resources: dict[str, float] = {"CPU": spec.cpus_per_worker, **({"GPU": gpus} if gpus else {})}
    storage = spec.ray_storage or str(spec.workdir / "ray")
    shutil.rmtree(spec.workdir / "ray" / "search", ignore_errors=True)
    tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=_Suggestions(trials),
            scheduler=_Reports(trials),
            # The suggestions say when there are no more.
            num_samples=-1,
            # A process takes seconds to start.
            reuse_actors=True,
            # By default names of folders hold the values.
            trial_dirname_creator=_id_of,
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=storage,
            stop=_End(trials),
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()
    if trials.error:
        raise trials.error
    study.close()


def _id_of(trial: TuneTrial) -> str:
    return trial.trial_id


class _Trials:
    """What Tune does, told to the study."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.error: Exception | None = None
        self._numbers: dict[str, int] = {}
        """Number of each trial that runs, by Tune's id."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps copies of its parts, from which nobody goes on."""
        return {}

    @property
    def is_over(self) -> bool:
        """Whether Tune has nothing more to do."""
        return self.error is not None or self.study.is_over

    def suggest(self, tune_id: str) -> dict[str, Any] | None:
        """Config of the next trial; None while none may begin."""
        trial = self._guarded(self.study.next)
        if trial is None:
            return None
        self._numbers[tune_id] = trial.number
        return {NUMBER: trial.number, VALUES: trial.values, RUN: trial.mlflow_run_id}

    def report(self, tune_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial goes on."""
        if FAILURE in result:
            print(result[TRACE], flush=True)  # noqa: T201
            number = self._numbers.pop(tune_id)
            reason, passes = result[FAILURE], result[PASSES]
            self._guarded(lambda: self.study.fail(number, reason, passes=passes))
            # A process that is not spoilt ends this trial, and takes the next.
            return result[SPOILT]
        if REPORT not in result or tune_id not in self._numbers:
            return True
        metrics = {k.removeprefix(FIELD): v for k, v in result.items() if k.startswith(FIELD)}
        number = self._numbers[tune_id]
        goes_on = self._guarded(lambda: self.study.report(number, result[REPORT], metrics))
        return goes_on is not False

    def end(self, tune_id: str) -> None:
        """The trial has ended."""
        number = self._numbers.pop(tune_id, None)
        if number is not None:
            self._guarded(lambda: self.study.end(number))

    def lose(self, tune_id: str, error: Exception | None) -> None:
        """The process of the trial has ended."""
        number = self._numbers.pop(tune_id, None)
        if number is not None:
            is_gone = error is None or isinstance(error, RayActorError)
            reason = _ENDED if is_gone else str(error).strip().rpartition("\n")[2]
            self._guarded(lambda: self.study.lose(number, reason))

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """What the call gives; what it raises ends the search, and is raised at its end."""
        try:
            return None if self.error else call()
        except Exception as error:
            self.error = error
            return None


class _Suggestions(Searcher):
    """Where Tune asks for trials."""

    def __init__(self, trials: _Trials) -> None:
        super().__init__()
        self._trials = trials

    def suggest(self, trial_id: str) -> Any:
        """Config of the next trial, None for now, or the end."""
        if self._trials.is_over:
            return Searcher.FINISHED
        return self._trials.suggest(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial has ended; of an error the scheduler has told already."""
        if not error:
            self._trials.end(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study keeps its own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a study begins with what it finds."""


class _Reports(FIFOScheduler):
    """Where Tune hands over reports."""

    def __init__(self, trials: _Trials) -> None:
        super().__init__()
        self._trials = trials

    def on_trial_result(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        """Whether the trial goes on."""
        goes_on = self._trials.report(trial.trial_id, result)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """The process of the trial has ended, or ends after a failure."""
        # `trial.get_error` looks where Tune puts a copy only later.
        file = trial.pickled_error_file
        content = Path(file).read_bytes() if file and Path(file).exists() else b""
        self._trials.lose(trial.trial_id, cloudpickle.loads(content) if content else None)


class _End(Stopper):
    """Where Tune asks whether to end everything."""

    def __init__(self, trials: _Trials) -> None:
        self._trials = trials

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether a budget is used up, or the search can never work."""
        return self._trials.error is not None or bool(self._trials.study.used_up)
