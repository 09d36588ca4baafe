"""Following a RayJob: one look after the other at the cluster and at the job's folder."""

import time
from collections.abc import Callable
from dataclasses import replace

from engine.bucket import Bucket
from engine.growing_file import GrowingReader
from engine.output import Output, OutputPacer
from engine.progress import Progress, parse
from engine.protocol import JobSpec
from resources.compute.contract import DELETED, Driver, JobRefused
from resources.compute.job_clock import JobClock, Limits
from resources.compute.rayjob.state import RayJobState, diagnosis
from resources.kubernetes_api.client import Cluster, ClusterUnavailable
from resources.kubernetes_api.pod_status import is_stuck

RESULT_WITHIN_S = 30.0
LEASE_EVERY_S = 10.0
AWAY_TOLD_S = 10.0
"""Time without an answer of the Kubernetes API after which it is told; a broken connection is
nothing."""
LOG_TAIL_BYTES = 4_000

AWAY = "the Kubernetes API does not answer; the job goes on, and is followed by its folder"


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
        self._cluster, self._bucket, self._name = cluster.once(), bucket, name
        self._settings, self._on_progress = cluster.settings, on_progress
        self._on_output, self._driver = on_output, driver
        self._progress, self._log = (
            GrowingReader(bucket, n) for n in ("progress.jsonl", "engine.log")
        )
        self._progress.skip()
        self._log.skip()
        self._output = OutputPacer()
        self._shown = self._away = ""
        self._renewed = float("-inf")
        self._answered = time.monotonic()
        self._state = RayJobState.unknown()

    def to_the_end(self, spec: JobSpec, stall_s: float) -> str:
        """What the cluster says of the end; returns as soon as there is a result.

        While the Kubernetes API does not answer, however long that is, the job is followed by its
        folder alone. Raises JobRefused when the job runs too long, says nothing, or cannot ever
        start.
        """
        limits = Limits(spec.timeout_s, stall_s, self._settings.stuck_s)
        clock = JobClock(limits, time.monotonic())
        while True:
            if self._driver.is_deleted():
                raise JobRefused(DELETED)
            state = self._look(clock)
            if state.is_refused:
                raise JobRefused(state.message)
            if state.is_over:
                return self._ended(state)
            if self._bucket.size("result.json") is not None:
                self._show_output(last=True)
                return ""
            clock.require_time(self._shown, self._log_tail)
            self._renew_lease()
            time.sleep(self._settings.poll_s)

    def _look(self, clock: JobClock) -> RayJobState:
        """The state of the RayJob, or the last that was seen; what is new is told."""
        said = self._asked()
        now = time.monotonic()
        lines = parse(self._progress.lines())
        for line, _ in lines:
            self._on_progress(replace(line, ran_s=round(clock.ran_s, 3), reason=self._away))
        self._show_output()
        # A report that is read late must not hide that the job waits.
        if said and (said != self._shown or (lines and not self._state.is_running)):
            self._shown = said
            self._on_progress(self._standing(said))
        clock.look(
            now,
            has_reported=bool(lines),
            is_running=self._state.is_running,
            is_stuck=is_stuck(said),
        )
        return self._state

    def _standing(self, said: str) -> Progress:
        """What the cluster says, and whether the job works or waits."""
        line = Progress(time.time(), 0, None, "cluster", said, reason=self._away)
        if self._state.is_running or self._state.is_over:
            return line
        return replace(line, state="waiting", reason=said)

    def _asked(self) -> str:
        """What the cluster says now; empty while it has just not answered."""
        try:
            self._state = RayJobState.of(self._cluster.get("RayJob", self._name))
            said = self._state.message or diagnosis(self._cluster, self._name)
        except ClusterUnavailable as error:
            away_s = time.monotonic() - self._answered
            if away_s <= AWAY_TOLD_S:
                return ""
            self._away = f"{AWAY}: {error}"
            return self._away
        self._answered, self._away = time.monotonic(), ""
        return said

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
        try:
            found = diagnosis(self._cluster, self._name)
        except ClusterUnavailable:
            found = ""
        return "\n".join(filter(None, [state.message, found, self._log_tail()]))

    def _renew_lease(self) -> None:
        now = time.monotonic()
        # Several times within the lease, also where the settings make it short.
        if now - self._renewed > min(LEASE_EVERY_S, self._settings.lease_s / 4):
            self._bucket.put("lease", str(time.time_ns()).encode())
            self._renewed = now

    def _log_tail(self) -> str:
        return self._log.end(LOG_TAIL_BYTES).decode(errors="replace")
