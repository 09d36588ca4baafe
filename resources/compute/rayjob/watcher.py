"""Following a RayJob: one look after the other at the cluster and at the job's folder."""

import time
from collections.abc import Callable
from dataclasses import replace

from engine.bucket import Bucket
from engine.growing import GrowingReader
from engine.output import Output, OutputPacer
from engine.progress import Progress, parse
from engine.protocol import JobSpec
from resources.compute.contract import DELETED, Driver, JobRefused
from resources.compute.rayjob.state import RayJobState, diagnosis
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.pod_status import is_stuck

RESULT_WITHIN_S = 30.0
LEASE_EVERY_S = 10.0
LOG_TAIL_BYTES = 4_000


class Watcher:
    """One driver's view of a RayJob, from its start or adoption to its end."""

    def __init__(
        self,
        cluster: Cluster,
        bucket: Bucket,
        name: str,
        on_progress: Callable[[Progress], None],
        on_output: Callable[[Output], None],
        driver: Driver,
    ) -> None:
        self._cluster, self._bucket, self._name = cluster, bucket, name
        self._settings, self._on_progress = cluster.settings, on_progress
        self._on_output, self._driver = on_output, driver
        self._progress, self._log = (
            GrowingReader(bucket, n) for n in ("progress.jsonl", "engine.log")
        )
        self._progress.skip()
        self._log.skip()
        self._output = OutputPacer()
        self._shown = ""
        self._ran_s = 0.0
        self._looked = self._heard = self._moved = time.monotonic()
        self._renewed = float("-inf")

    def to_the_end(self, spec: JobSpec, stall_s: float) -> str:
        """What the cluster says of the end; returns as soon as there is a result.

        Raises JobRefused when the job runs too long, says nothing, or cannot ever start.
        """
        while True:
            if self._driver.is_deleted():
                raise JobRefused(DELETED)
            state = RayJobState.of(self._cluster.get("RayJob", self._name))
            self._look(state)
            if state.is_refused:
                raise JobRefused(state.message)
            if state.is_over:
                return self._ended(state)
            if self._bucket.size("result.json") is not None:
                self._show_output(last=True)
                return ""
            self._refuse_what_takes_too_long(spec, stall_s)
            self._renew_lease()
            time.sleep(self._settings.poll_s)

    def _look(self, state: RayJobState) -> None:
        """Tell what is new; count the time that the job runs, and how long it has been silent."""
        now = time.monotonic()
        lines = parse(self._progress.lines())
        for line, _ in lines:
            self._on_progress(replace(line, ran_s=round(self._ran_s, 3)))
        self._show_output()
        said = state.message or diagnosis(self._cluster, self._name)
        if said != self._shown:
            self._shown = said
            self._on_progress(Progress(time.time(), 0, None, "cluster", said))
        if state.is_running:
            self._ran_s += now - self._looked
        if lines or not state.is_running:
            self._heard = now
        if not is_stuck(said):
            self._moved = now
        self._looked = now

    def _show_output(self, *, last: bool = False) -> None:
        self._output.add(self._log.read())
        if message := self._output.message(last=last):
            self._on_output(message)

    def _ended(self, state: RayJobState) -> str:
        """Why it ended; waits for the result of a RayJob that says it did well."""
        end = time.monotonic() + (RESULT_WITHIN_S if state.did_well else 0)
        while self._bucket.size("result.json") is None and time.monotonic() < end:
            time.sleep(min(0.5, self._settings.poll_s))
        self._show_output(last=True)
        said = [state.message, diagnosis(self._cluster, self._name), self._log_tail()]
        return "\n".join(filter(None, said))

    def _refuse_what_takes_too_long(self, spec: JobSpec, stall_s: float) -> None:
        # As of the last look: how long the look itself took, or this machine slept, is nobody's.
        now = self._looked
        if now - self._moved > self._settings.stuck_s:
            raise JobRefused(f"the job cannot start: {self._shown}")
        if self._ran_s > spec.timeout_s:
            raise JobRefused(f"the job ran longer than {spec.timeout_s:.0f} s and was stopped")
        if now - self._heard > stall_s:
            raise JobRefused(
                f"the job reported nothing for {stall_s:.0f} s and was stopped as hung; raise "
                "`stall_timeout_s` in its declaration if its work needs longer pauses between two "
                f"reports\n{self._log_tail()}"
            )

    def _renew_lease(self) -> None:
        now = time.monotonic()
        if now - self._renewed > min(LEASE_EVERY_S, self._settings.lease_s / 4):
            self._bucket.put("lease", str(time.time_ns()).encode())
            self._renewed = now

    def _log_tail(self) -> str:
        return self._log.end(LOG_TAIL_BYTES).decode(errors="replace")
