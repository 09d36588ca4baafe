"""All replicas of one deployment: started, probed, and started again when they die."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.contract import Deployment
from serving.processes import Processes
from serving.replica import Replica

BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pause before the next start, by how often a replica died soon after the last one."""
SOON_S = 5.0
MOST_DEATHS = 3
"""How often a replica of a version that was never accepted may die."""


@dataclass(frozen=True)
class _Start:
    """A replica that is to be started."""

    slot: int
    due: float
    restarts: int


class Replicas:
    """As many processes as the deployment asks for, each with a slot of the router."""

    def __init__(
        self,
        deployment: Deployment,
        slots: list[int],
        socket_of: Callable[[int], Path],
        logs: Path,
        processes: Processes,
    ) -> None:
        self.deployment, self._logs, self._processes = deployment, logs, processes
        self._socket_of = socket_of
        self.running: list[Replica] = []
        self.fault = ""
        """Why they should not take over; empty while they may."""
        self._starts = [_Start(slot, 0.0, 0) for slot in slots]
        self._soon: Counter[int] = Counter()

    @property
    def slots(self) -> list[int]:
        """Slots of the router that are theirs."""
        return [r.slot for r in self.running] + [s.slot for s in self._starts]

    def without_dead(self, now: float) -> list[Replica]:
        """Replicas that died; others are to be started in their slots."""
        dead = [replica for replica in self.running if replica.is_dead]
        for replica in dead:
            self.running.remove(replica)
            self._start_again(replica, now)
        return dead

    def start_due(self, now: float) -> None:
        """Start what is due, and see who is ready.

        Raises OSError when a process cannot be started; the next call tries again.
        """
        for replica in self.running:
            replica.probe()
        if self._processes.is_loading:
            return
        for start in [s for s in self._starts if s.due <= now]:
            # The start is removed only when the process runs, so that a failed one is tried again.
            self.running.append(
                Replica(
                    self.deployment,
                    start.slot,
                    self._socket_of(start.slot),
                    self._logs,
                    self._processes,
                    start.restarts,
                )
            )
            self._starts.remove(start)

    def _start_again(self, replica: Replica, now: float) -> None:
        restarts = replica.restarts + 1
        if restarts >= MOST_DEATHS:
            how = f"died {restarts} times" if replica.is_ready else "does not start"
            self.fault = f"version {self.deployment.version} {how} (its log is in {self._logs})"
        slot = replica.slot
        if replica.age_s > SOON_S:
            self._soon[slot] = 0
        due = now + BACKOFF_S[min(self._soon[slot], len(BACKOFF_S) - 1)]
        self._soon[slot] += 1
        self._starts.append(_Start(slot, due, restarts))
