"""Metrics of a running job and its machine, sent to MLflow in batches by a thread.

timeout: each call as MLflow's HTTP settings say; `close` waits `patience_s` in all.
retry: a batch that fails is sent again every second while training goes on; what is left at the
    end is sent by the job's driver, from the journal. What MLflow refuses is not sent again.
cancel: the thread is a daemon and ends with the process.
duplicate: on resume, steps that MLflow already has are not sent again.
partial write: MLflow stores a batch whole or not at all.
"""

import logging
import threading
import time
from collections import deque
from typing import Any

from engine.mlflow_errors import is_refusal
from training.contract import MlflowRun

BATCH = 500
SAMPLE_EVERY_S = 2
log = logging.getLogger(__name__)


class MetricLog:
    """Sends metrics to the mlflow_run without making training wait."""

    def __init__(self, run: MlflowRun, resumed: bool, patience_s: float = 10.0) -> None:
        self._run, self._patience_s = run, patience_s
        self._queue: deque[tuple[str, float, int, int]] = deque()
        self._last_step: dict[str, int] = {}
        self._resumed = resumed
        self._closing = threading.Event()
        self._client: Any = None
        self._system: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._send_until_closed, daemon=True)
        self._thread.start()

    def add(self, metrics: dict[str, float], step: int) -> None:
        """Queue one value per metric."""
        now_ms = int(time.time() * 1000)
        self._queue.extend((name, value, now_ms, step) for name, value in metrics.items())

    def close(self) -> None:
        """Send what is queued, for as long as the patience lasts: a training that is done must not
        fail because MLflow is away."""
        self._closing.set()
        self._thread.join(self._patience_s)
        if self._queue:
            log.warning("MLflow has not taken %d metrics: %s", len(self._queue), self._error)

    def _send_until_closed(self) -> None:
        # Loading MLflow takes a second, which the first training step need not wait for.
        while not self._queue and not self._closing.is_set():
            self._closing.wait(0.05)
        while self._queue or not self._closing.is_set():
            try:
                self._send_batch()
                self._error = None
            except Exception as error:
                # Whatever MLflow raises, training goes on.
                self._note(error)
            self._closing.wait(1.0 if self._error else 0.2)
            # `wait` returns at once while closing, so this pause keeps the loop from spinning.
            if self._closing.is_set() and self._error:
                time.sleep(1.0)
        if self._system:
            _send_last_sample(self._system)

    def _note(self, error: Exception) -> None:
        if is_refusal(error):
            log.warning("MLflow refuses the metrics of this job, training goes on: %s", error)
            # Such a queue also drops everything that is added later.
            self._queue = deque(maxlen=0)
        elif self._error is None:
            log.warning("MLflow does not answer, metrics are kept: %s", error)
        self._error = error
        # The sampler ends itself when MLflow fails; the next batch starts another.
        self._client = None

    def _send_batch(self) -> None:
        from mlflow.entities import Metric
        from mlflow.tracking import MlflowClient

        if self._client is None:
            self._client = MlflowClient(self._run.address)
            self._system = self._watch_system()
        while batch := list(self._queue)[:BATCH]:
            fresh = [Metric(*entry) for entry in batch if self._is_new(entry[0], entry[3])]
            if fresh:
                self._client.log_batch(self._run.run_id, metrics=fresh)
            # Removed only after MLflow has taken the batch, so that a failed one is sent again.
            for _ in batch:
                self._queue.popleft()

    def _watch_system(self) -> Any:
        """MLflow's own sampler of processor, memory, disk, network and GPU."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        sampler = SystemMetricsMonitor(
            self._run.run_id,
            sampling_interval=SAMPLE_EVERY_S,
            resume_logging=self._resumed,
            tracking_uri=self._run.address,
        )
        sampler.start()
        return sampler

    def _is_new(self, name: str, step: int) -> bool:
        if not self._resumed:
            return True
        if name not in self._last_step:
            history = self._client.get_metric_history(self._run.run_id, name)
            self._last_step[name] = max((m.step for m in history), default=-1)
        return step > self._last_step[name]


def _send_last_sample(sampler: Any) -> None:
    """Send what the sampler has gathered since its last full interval, and end it."""
    sampler.finish()
    if metrics := sampler.aggregate_metrics():
        sampler.publish_metrics(metrics)
        sampler.mlflow_logger.flush()
