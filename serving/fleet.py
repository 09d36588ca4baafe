"""The replicas of one service, and how a new version takes over without a failed request."""

import time
from dataclasses import dataclass
from pathlib import Path

from serving.contract import Release, ServiceStatus
from serving.haproxy import LARGEST_WEIGHT, Haproxy
from serving.replica import Replica

BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
MOST_FAILED_STARTS = 3
DRAIN_WITHIN_S = 30.0
MOST_ERRORS = 0.02
"""Share of server errors at which a canary is rolled back."""


@dataclass(frozen=True)
class _Restart:
    """A replica that died, and when it is started again."""

    due: float
    release: Release
    slot: int
    restarts: int
    is_incoming: bool


class Fleet:
    """Pursues the release of one service, a step at a time and without ever waiting."""

    def __init__(self, service: str, router: Haproxy, logs: Path) -> None:
        self.service = service
        self._router, self._logs = router, logs
        self._current: list[Replica] = []
        self._incoming: list[Replica] = []
        self._leaving: list[tuple[Replica, float]] = []
        self._waiting: list[_Restart] = []
        self._release: Release | None = None
        self._refused: str | None = None
        self._message = ""
        self._canary_step: int | None = None
        self._step_since = 0.0
        self._errors_before: tuple[int, int] = (0, 0)

    @property
    def is_empty(self) -> bool:
        """Whether no process is left."""
        return not (self._current or self._incoming or self._leaving)

    def pursue(self, release: Release | None) -> None:
        """Take one step towards the release; None means to stop serving."""
        self._settle_leaving()
        if release is None:
            self._leave(self._current + self._incoming)
            self._current, self._incoming, self._waiting = [], [], []
            return
        if release != self._release:
            self._accept(release)
        self._replace_dead()
        self._restart_due()
        for replica in self._current + self._incoming:
            self._welcome(replica)
        if self._incoming and self._is_whole(self._incoming):
            self._widen()

    def _accept(self, release: Release) -> None:
        # First what may fail: the next step then tries the whole of it again.
        slots = self._free_slots(release.replicas)
        previous, self._release = self._release, release
        self._message = ""
        self._leave(self._incoming)
        self._incoming, self._waiting, self._canary_step = [], [], None
        serving = self._current[0].release if self._current else None
        if serving == release or (previous and release.version == self._refused):
            return
        self._refused = None
        self._incoming = [Replica(release, slot, self._logs) for slot in slots]

    def _free_slots(self, count: int) -> list[int]:
        """Slots for a takeover by so many replicas, beside those that are in use."""
        used = {r.slot for r in self._current + self._incoming}
        used |= {r.slot for r, _ in self._leaving} | {w.slot for w in self._waiting}
        needed = max(4, len(used) + 2 * count)
        self._router.require_slots(self.service, needed)
        return [slot for slot in range(needed) if slot not in used][:count]

    def _is_whole(self, replicas: list[Replica]) -> bool:
        wanted = replicas[0].release.replicas
        return len(replicas) == wanted and all(r.is_ready for r in replicas)

    def _welcome(self, replica: Replica) -> None:
        if replica.is_ready:
            return
        replica.probe()
        if replica.is_ready and replica in self._current:
            self._router.place(self.service, replica.slot, replica.port, LARGEST_WEIGHT)

    def _replace_dead(self) -> None:
        for replicas in (self._current, self._incoming):
            for replica in [r for r in replicas if r.is_dead]:
                replicas.remove(replica)
                self._router.close(self.service, replica.slot)
                replica.stop()
                restarts, is_incoming = replica.restarts + 1, replicas is self._incoming
                if is_incoming and restarts >= MOST_FAILED_STARTS:
                    self._roll_back(f"version {replica.release.version} does not start")
                    return
                due = time.monotonic() + BACKOFF_S[min(restarts, len(BACKOFF_S) - 1)]
                again = _Restart(due, replica.release, replica.slot, restarts, is_incoming)
                self._waiting.append(again)

    def _restart_due(self) -> None:
        now = time.monotonic()
        for entry in [w for w in self._waiting if w.due <= now]:
            self._waiting.remove(entry)
            replica = Replica(entry.release, entry.slot, self._logs, entry.restarts)
            (self._incoming if entry.is_incoming else self._current).append(replica)

    def _widen(self) -> None:
        """Start or continue the takeover by the incoming version."""
        release = self._incoming[0].release
        if not self._current:
            self._take_over()
        elif self._canary_step is None:
            self._begin_step(0)
        elif self._is_failing():
            self._roll_back(
                f"version {release.version} answered with errors at "
                f"{release.canary[self._canary_step]} % of the traffic"
            )
        elif time.monotonic() - self._step_since >= release.step_s:
            if release.canary[self._canary_step] == 100:
                self._take_over()
            else:
                self._begin_step(self._canary_step + 1)

    def _begin_step(self, step: int) -> None:
        percent = self._incoming[0].release.canary[step]
        if self._canary_step is None:
            for replica in self._incoming:
                self._router.place(self.service, replica.slot, replica.port, 1)
        self._canary_step, self._step_since = step, time.monotonic()
        self._share(self._incoming, percent)
        self._share(self._current, 100 - percent)
        self._errors_before = self._answers()

    def _share(self, replicas: list[Replica], percent: int) -> None:
        for replica in replicas:
            weight = round(LARGEST_WEIGHT * percent / 100 / len(replicas))
            if replica.is_ready:
                self._router.weigh(self.service, replica.slot, max(1, weight) if percent else 0)

    def _answers(self) -> tuple[int, int]:
        counted = [self._router.answers(self.service, r.slot) for r in self._incoming]
        return sum(a for a, _ in counted), sum(e for _, e in counted)

    def _is_failing(self) -> bool:
        answered, errors = self._answers()
        answered, errors = answered - self._errors_before[0], errors - self._errors_before[1]
        return errors > max(1, MOST_ERRORS * answered)

    def _take_over(self) -> None:
        for replica in self._incoming:
            if self._canary_step is None:
                self._router.place(self.service, replica.slot, replica.port, LARGEST_WEIGHT)
            else:
                self._router.weigh(self.service, replica.slot, LARGEST_WEIGHT)
        self._leave(self._current)
        self._current, self._incoming = self._incoming, []
        self._waiting = []
        self._canary_step = None

    def _roll_back(self, why: str) -> None:
        self._refused = self._release.version if self._release else None
        kept = "the earlier version keeps the traffic" if self._current else "nothing serves"
        self._message = f"{why} (its log is in {self._logs}); {kept}"
        self._share(self._current, 100)
        self._leave(self._incoming)
        self._waiting = [w for w in self._waiting if not w.is_incoming]
        self._incoming, self._canary_step = [], None

    def _leave(self, replicas: list[Replica]) -> None:
        for replica in replicas:
            self._router.drain(self.service, replica.slot)
            self._leaving.append((replica, time.monotonic()))

    def _settle_leaving(self) -> None:
        for entry in list(self._leaving):
            replica, since = entry
            is_idle = not self._router.sessions(self.service, replica.slot)
            if is_idle or time.monotonic() - since > DRAIN_WITHIN_S:
                replica.stop()
            if replica.has_ended:
                self._router.close(self.service, replica.slot)
                self._leaving.remove(entry)

    def status(self) -> ServiceStatus | None:
        """What has been reached; None before the first release."""
        if self._release is None:
            return None
        serving = self._current[0].release.version if self._current else None
        target = self._release.version
        if self._refused == target:
            state = "rolled_back"
        elif self._canary_step is not None:
            state = "canary"
        elif serving == target and all(r.is_ready for r in self._current):
            state = "serving" if len(self._current) == self._release.replicas else "starting"
        else:
            state = "starting"
        step = self._canary_step
        weight = self._release.canary[step] if step is not None else 100 * (state == "serving")
        replicas = [*self._current, *self._incoming, *(r for r, _ in self._leaving)]
        return ServiceStatus(
            service=self.service,
            state=state,
            target=target,
            serving=serving,
            weight=weight,
            url=f"{self._router.url}/{self.service}/predict",
            message=self._message,
            replicas=[replica.status() for replica in replicas],
        )
