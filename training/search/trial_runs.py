"""Trials as mlflow_runs below that of their job, sent by a thread.

timeout: each call as MLflow's HTTP settings say. A trial waits `BEGIN_S` for its mlflow_run, and
    not at all while MLflow does not answer; `close` waits `patience_s` in all.
retry: what fails is sent again every second while the search goes on. What MLflow refuses is not
    sent again.
cancel: the thread is a daemon and ends with the process; the job's driver ends the mlflow_runs that
    are left.
duplicate: a trial's mlflow_run is found by its tag; reports that MLflow already has are not sent
    again.
partial write: MLflow stores a batch whole or not at all.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from engine.mlflow_errors import is_refusal
from training.contract import MlflowRun, TrainingSpec
from training.metric_log import BATCH, MetricLog
from training.search.trial import Trial

BEGIN_S = 5.0
PARENT, TRIAL, STATE = "mlflow.parentRunId", "orrery.trial", "orrery.trial_state"
HYPERPARAMETERS = "orrery.hyperparameters"
INHERITED = (
    "dagster.run_id",
    "mlflow.user",
    "mlflow.source.name",
    "orrery.project",
    "orrery.model",
    "orrery.dataset_version",
)
"""Tags of the job's mlflow_run that its trials have too."""
STATUSES = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
LONGEST_TEXT = 5_000
log = logging.getLogger(__name__)


class NoRuns:
    """Where nothing is tracked."""

    def begin(self, trial: Trial) -> str:
        """No mlflow_run."""
        return ""

    def report(self, number: int, metrics: Mapping[str, float], report: int) -> None:
        """Nothing."""

    def end(self, trial: Trial) -> None:
        """Nothing."""

    def best(self, name: str, value: float, ended: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing is buffered."""


class TrialRuns:
    """The mlflow_runs of one search."""

    def __init__(self, spec: TrainingSpec, run: MlflowRun, *, resumed: bool) -> None:
        self._run, self._spec, self._resumed = run, spec, resumed
        self._job = MetricLog(run, resumed)
        self._children: dict[int, _Child] = {}
        self._closing = threading.Event()
        self._is_away = False
        self._client: Any = None
        self._tags: dict[str, str] = {}
        self._thread = threading.Thread(target=self._send_until_closed, daemon=True)
        self._thread.start()

    def begin(self, trial: Trial) -> str:
        """Id of the trial's mlflow_run; empty where MLflow does not answer in time."""
        child = _Child(trial, {**self._spec.hyperparameters, **trial.values})
        self._children[trial.number] = child
        if not self._is_away:
            child.is_made.wait(BEGIN_S)
        return child.run_id

    def report(self, number: int, metrics: Mapping[str, float], report: int) -> None:
        """Queue one value per metric."""
        now_ms = int(time.time() * 1000)
        queue = self._children[number].queue
        queue.extend((name, value, now_ms, report) for name, value in metrics.items())

    def end(self, trial: Trial) -> None:
        """Queue the end of the trial's mlflow_run."""
        self._children.setdefault(trial.number, _Child(trial, trial.values)).ended = trial

    def best(self, name: str, value: float, ended: int) -> None:
        """Queue a value of the job's own curve."""
        self._job.add({name: value}, ended)

    def close(self, patience_s: float = 10.0) -> None:
        """Send what is queued, for as long as the patience lasts."""
        self._closing.set()
        self._thread.join(patience_s)
        if self._children:
            log.warning("MLflow lacks %d trials, or parts of them", len(self._children))
        self._job.close()

    def _send_until_closed(self) -> None:
        while self._children or not self._closing.is_set():
            try:
                for child in list(self._children.values()):
                    self._send(child)
                self._is_away = False
            except Exception as error:
                # Whatever MLflow raises, the search goes on.
                if not self._is_away:
                    log.warning("MLflow does not answer, trials are kept: %s", error)
                self._is_away, self._client = True, None
            self._closing.wait(1.0 if self._is_away else 0.05)
            if self._closing.is_set() and self._is_away:
                time.sleep(1.0)

    def _send(self, child: "_Child") -> None:
        """Bring MLflow up to date with the trial."""
        from mlflow.exceptions import MlflowException

        try:
            if self._client is None:
                self._connect()
            child.send(self._client, self._run, self._tags, self._spec.job, self._resumed)
        except MlflowException as error:
            if not is_refusal(error):
                raise
            log.warning("MLflow refuses trial %d, the search goes on: %s", child.number, error)
            child.is_refused = True
            child.is_made.set()
        if child.is_done:
            self._children.pop(child.number, None)

    def _connect(self) -> None:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self._run.address)
        known = client.get_run(self._run.run_id).data.tags
        self._tags = {name: known[name] for name in INHERITED if name in known}
        self._client = client


class _Child:
    """What MLflow is to know of one trial."""

    def __init__(self, trial: Trial, values: dict[str, Any]) -> None:
        self.number, self.run_id, self._values = trial.number, trial.mlflow_run_id, values
        self._is_known = bool(self.run_id)
        """Whether an earlier attempt of the trial has logged to it."""
        self.queue: deque[tuple[str, float, int, int]] = deque()
        self.ended: Trial | None = None
        self.is_made = threading.Event()
        self.is_refused = False
        self._is_sent = False
        self._last: dict[str, int] | None = None

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to send, ever."""
        return self._is_sent or (self.is_refused and self.ended is not None)

    def send(
        self, client: Any, job: MlflowRun, tags: dict[str, str], name: str, resumed: bool
    ) -> None:
        """Make the mlflow_run, log what is queued, and end it where the trial has ended."""
        from mlflow.entities import Metric

        if self.is_refused:
            return
        if not self.is_made.is_set():
            self._make(client, job, {**tags, TRIAL: f"{name}/{self.number}"}, resumed)
        # Read before the queue: reports come before the end.
        ended = self.ended
        while batch := [self.queue[i] for i in range(min(BATCH, len(self.queue)))]:
            fresh = [Metric(*entry) for entry in batch if self._is_new(client, entry)]
            if fresh:
                client.log_batch(self.run_id, metrics=fresh)
            for _ in batch:
                self.queue.popleft()
        if ended is not None:
            client.set_tag(self.run_id, STATE, ended.state)
            if ended.reason:
                client.set_tag(self.run_id, "orrery.failure", ended.reason[:LONGEST_TEXT])
            client.set_terminated(self.run_id, STATUSES[ended.state])
            self._is_sent = True

    def _make(self, client: Any, job: MlflowRun, tags: dict[str, str], resumed: bool) -> None:
        from mlflow.entities import Param

        if resumed and not self.run_id:
            query = f"tags.`{TRIAL}` = '{tags[TRIAL]}'"
            found = client.search_runs([job.experiment_id], query, max_results=1)
            self.run_id = found[0].info.run_id if found else ""
            self._is_known = bool(self.run_id)
        if not self.run_id:
            exact = json.dumps(self._values)
            if len(exact) <= LONGEST_TEXT:
                tags = {**tags, HYPERPARAMETERS: exact}
            experiment = job.experiment_id or client.get_run(job.run_id).info.experiment_id
            made = client.create_run(
                experiment, run_name=f"trial {self.number}", tags={**tags, PARENT: job.run_id}
            )
            self.run_id = made.info.run_id
            params = [Param(key, str(value)[:6000]) for key, value in self._values.items()]
            client.log_batch(self.run_id, params=params)
        self.is_made.set()

    def _is_new(self, client: Any, entry: tuple[str, float, int, int]) -> bool:
        if not self._is_known:
            return True
        if self._last is None:
            known = client.get_run(self.run_id).data._metric_objs
            self._last = {metric.key: metric.step for metric in known}
        return entry[3] > self._last.get(entry[0], -1)
