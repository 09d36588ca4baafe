"""The course of a search: what is tried next, what came of it, and when it ends."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from engine.checkpoints import CHECKPOINTS, CheckpointFolder
from engine.progress import ProgressLog
from engine.protocol import Refused, TryAgain
from projects.search import Search
from training.contract import TrainingSpec
from training.search.halving import Halving
from training.search.sampler import Sampler
from training.search.trial import Trial, TrialBook

MOST_LOSSES = 3
"""How often the process of one trial may end without a word."""
TOLD_EVERY_S = 1.0
"""Between two lines of progress that tell of reports alone."""
NO_VALIDATION = (
    "; the dataset has no validation rows, declare split: {validation: 0.1} for metrics of them"
)
WORSE = "others were better by then"


class Watcher(Protocol):
    """Who is told what becomes of trials."""

    def begin(self, trial: Trial) -> str:
        """Id of the trial's mlflow_run; empty where it has none yet."""
        ...

    def report(self, number: int, metrics: Mapping[str, float], report: int) -> None:
        """The trial has reported."""
        ...

    def end(self, trial: Trial) -> None:
        """The trial has ended."""
        ...

    def best(self, name: str, value: float, ended: int) -> None:
        """The best value after so many trials that ended."""
        ...


class Study:
    """The trials of one job, of this and of earlier attempts."""

    def __init__(
        self,
        spec: TrainingSpec,
        search: Search,
        watcher: Watcher,
        holds_model: Callable[[Path], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._search, self._watcher, self._holds_model = search, watcher, holds_model
        self._gpus, self._clock = spec.gpus_per_worker, clock
        has_rows = spec.dataset is None or spec.dataset.validation
        self._hint = "" if has_rows else NO_VALIDATION
        self.book = TrialBook(spec.workdir)
        self.sampler = Sampler(search, spec.seed, spec.hyperparameters)
        self._halving = Halving(search, spec.units[1])
        self._kept = CheckpointFolder(spec.workdir / CHECKPOINTS)
        self.trials = self.book.trials()
        self._waiting: list[int] = []
        """Trials that were begun and do not run."""
        self._running: dict[int, float] = {}
        """When each running trial began."""
        self._heard: Counter[int] = Counter()
        """Number of the newest report of each trial that is taken up."""
        self._stopped: set[int] = set()
        self._losses: Counter[int] = Counter()
        self._names: set[str] = set()
        """Metrics that were reported so far."""
        for trial in self.trials:
            self._take_up(trial)
        # What an earlier attempt had worked counts too.
        self._began = clock() - max((trial.after_s for trial in self.trials), default=0.0)
        self._told_at = clock()
        self.resumed_from = ended = self._ended()
        """Trials that earlier attempts have ended."""
        self._progress = ProgressLog(spec.workdir, "trial", search.trials, ended)
        self._progress.report(ended, "the search goes on" if self.trials else "the search begins")

    def _take_up(self, trial: Trial) -> None:
        history = self.book.history(trial.number)
        self.sampler.add(trial, history)
        for point in history:
            self._hear(trial.number, point)
        if trial.state == "running":
            self._waiting.append(trial.number)
        else:
            self.book.drop_files(trial.number)

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing more is to be tried."""
        return not self._running and not self._may_go_on()

    @property
    def used_up(self) -> str:
        """Which budget is used up; empty while none is."""
        budget = self._search.budget
        worked_s = self._clock() - self._began
        if budget.time_s is not None and worked_s >= budget.time_s:
            return f"the budget of {budget.time_s:g} s was used"
        if budget.gpu_h is not None and self._gpu_h() >= budget.gpu_h:
            return f"the budget of {budget.gpu_h:g} GPU-hours was used"
        return ""

    def next(self) -> Trial | None:
        """The trial to run next, which has begun now; None while none may begin."""
        if len(self._running) >= self._search.at_once or not self._may_go_on():
            return None
        if self._waiting:
            trial = self.trials[self._waiting.pop(0)]
        elif len(self.trials) < self._search.trials:
            number = len(self.trials)
            trial = Trial(number=number, values=self.sampler.suggest(number))
            self.trials.append(trial)
        else:
            return None
        # Before MLflow is asked, so that an attempt that ends here suggests the same again.
        self.book.write(trial)
        if run_id := self._watcher.begin(trial):
            trial = self._written(trial, mlflow_run_id=run_id)
        self._running[trial.number] = self._clock()
        # Reports that an earlier attempt has not taken up, or MLflow has not got.
        for point in self.book.history(trial.number):
            self._hear(trial.number, point)
            self._watcher.report(trial.number, _metrics_of(point), int(point["step"]))
        return trial

    def report(self, number: int, report: int, metrics: Mapping[str, float]) -> bool:
        """Whether the trial goes on, which has made its report of that number."""
        self._hear(number, {**metrics, "step": report})
        self._watcher.report(number, metrics, report)
        self._tell(f"trial {number}: report {report}")
        return number not in self._stopped

    def _hear(self, number: int, point: Mapping[str, float]) -> None:
        """Take up one report, once."""
        report = int(point["step"])
        if report <= self._heard[number]:
            return
        self._heard[number] = report
        self._names |= _metrics_of(point).keys()
        value = point.get(self._search.metric)
        if value is not None and not self._halving.goes_on(number, report, value):
            self._stopped.add(number)

    def end(self, number: int) -> None:
        """The trial has ended by itself, or because it was told to.

        Raises Refused where it never reported the metric and no other did.
        """
        history = self.book.history(number)
        values = [point[self._search.metric] for point in history if self._search.metric in point]
        measured = {"reports": len(history), "value": values[-1] if values else None}
        if not values:
            self._end(number, "failed", self._unreported(history), **measured)
            if history and self._search.metric not in self._names:
                raise Refused(self._unreported(history))
        elif number in self._stopped:
            self._end(number, "stopped", WORSE, **measured)
        else:
            checkpoint = self.book.checkpoint(number)
            if checkpoint is None:
                reason = "it ended without reporting a checkpoint"
                self._end(number, "failed", reason, **measured)
            elif not self._holds_model(checkpoint):
                self._end(number, "failed", "its last checkpoint holds no model", **measured)
            else:
                self._finish(number, checkpoint, measured)

    def fail(self, number: int, reason: str, *, passes: bool = False) -> None:
        """The trainer has raised. Raises TryAgain where the reason may pass."""
        if passes:
            self._interrupt(number)
            raise TryAgain(f"trial {number}: {reason}")
        self._end(number, "failed", reason)

    def lose(self, number: int, reason: str) -> None:
        """The trial's process has ended without a word; it is tried again a few times."""
        self._losses[number] += 1
        if self._losses[number] < MOST_LOSSES:
            self._interrupt(number)
            self._waiting.append(number)
            self._tell(f"trial {number} is tried again: {reason}", at_once=True)
        else:
            self._end(number, "failed", f"lost {MOST_LOSSES} times: {reason}")

    def close(self) -> None:
        """End what the budget has left running."""
        for number in list(self._running):
            history = self.book.history(number)
            values = [p[self._search.metric] for p in history if self._search.metric in p]
            value = values[-1] if values else None
            self._end(number, "stopped", self.used_up, value=value, reports=len(history))
        self._progress.close()

    @property
    def best(self) -> Trial | None:
        """The finished trial with the best value, the first of equals."""
        finished = [t for t in self.trials if t.state == "finished" and t.value is not None]
        sign = 1 if self._search.aim == "min" else -1
        return min(finished, key=lambda trial: sign * (trial.value or 0.0), default=None)

    @property
    def checkpoint(self) -> Path | None:
        """The best trial's checkpoint."""
        newest = self._kept.newest_valid()
        return newest[1] if newest else None

    def require_best(self) -> Trial:
        """The best trial. Raises Refused with the most common reason where none finished."""
        if self.best:
            return self.best
        reasons = Counter(trial.reason for trial in self.trials if trial.state == "failed")
        if not reasons:
            raise Refused(
                f"{self.used_up or 'the search ended'} before one of {len(self.trials)} trials had "
                "finished, expected at least one; give it a larger budget"
            )
        reason, times = reasons.most_common(1)[0]
        raise Refused(
            f"no trial of {len(self.trials)} finished, expected at least one; {times} of "
            f"{sum(reasons.values())} that failed say: {reason}"
        )

    def _finish(self, number: int, checkpoint: Path, measured: dict[str, Any]) -> None:
        before = self.best
        value = measured["value"]
        is_better = (
            before is None
            or before.value is None
            or (value < before.value if self._search.aim == "min" else value > before.value)
        )
        if is_better:
            # Above all earlier numbers: the newest checkpoint of the job is the best trial's.
            newest = self._kept.newest_valid()
            self._kept.save(checkpoint, newest[0] + 1 if newest else 1)
        self._end(number, "finished", "", **measured)

    def _end(self, number: int, state: str, reason: str, **measured: Any) -> None:
        after_s = self._clock() - self._began
        ran_s = self._ran_s(number)
        self._running.pop(number, None)
        trial = self._written(
            self.trials[number],
            state=state,
            reason=reason,
            ran_s=ran_s,
            after_s=after_s,
            **measured,
        )
        self.sampler.end(trial, self.book.history(number))
        # A trial that was told to end leaves its folder when its process takes the next.
        self.book.drop_files(number, is_left=state != "stopped")
        self._watcher.end(trial)
        words = f"trial {number} {state}" + (f": {reason}" if reason else "")
        self._tell(words, at_once=True)

    def _interrupt(self, number: int) -> None:
        self._written(self.trials[number], ran_s=self._ran_s(number))
        self._running.pop(number, None)

    def _written(self, trial: Trial, **changes: Any) -> Trial:
        changed = self.trials[trial.number] = trial.model_copy(update=changes)
        self.book.write(changed)
        return changed

    def _may_go_on(self) -> bool:
        is_left = bool(self._waiting) or len(self.trials) < self._search.trials
        return is_left and not self.used_up

    def _ran_s(self, number: int) -> float:
        since, before_s = self._running.get(number), self.trials[number].ran_s
        return before_s if since is None else before_s + self._clock() - since

    def _gpu_h(self) -> float:
        return sum(map(self._ran_s, range(len(self.trials)))) * self._gpus / 3600

    def _ended(self) -> int:
        return sum(trial.state != "running" for trial in self.trials)

    def _unreported(self, history: list[dict[str, float]]) -> str:
        names = sorted({name for point in history for name in point} - {"step"})
        return (
            f"the trainer does not report the search's metric {self._search.metric!r}; it reports "
            f"{', '.join(map(repr, names)) or 'nothing'}: name one of those, or report it"
            f"{self._hint}"
        )

    def _tell(self, message: str, *, at_once: bool = False) -> None:
        """Write a line of progress, with the best so far where it may have changed."""
        now = self._clock()
        if not at_once and now - self._told_at < TOLD_EVERY_S:
            return
        self._told_at = now
        best, ended = self.best, self._ended()
        metrics: dict[str, float] = {}
        if best is not None and best.value is not None:
            metrics = {self._search.best_name: best.value}
            message += f"; best so far: trial {best.number}"
            if at_once:
                self._watcher.best(self._search.best_name, best.value, ended)
        self._progress.report(ended, message, metrics)


def _metrics_of(point: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in point.items() if name != "step"}
