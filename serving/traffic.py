"""The share of the router that one service has: where its replicas are placed, and with which
weights, what they answered, and how they leave.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.haproxy import LARGEST_WEIGHT, NO_SLOT, Haproxy, Slot
from serving.replica import Replica
from serving.rollout import Variant

DRAIN_WITHIN_S = 30.0
FEWEST_SLOTS = 4


@dataclass(frozen=True)
class Answered:
    """What a variant has answered since the reconciler started."""

    requests: int = 0
    errors: int = 0

    def since(self, before: "Answered") -> "Answered":
        """What came after."""
        return Answered(self.requests - before.requests, self.errors - before.errors)


@dataclass(frozen=True)
class _Place:
    pid: int
    port: int | None
    grpc_port: int | None
    weight: int


@dataclass(frozen=True)
class _Leaving:
    """A replica that gets no new request."""

    replica: Replica
    since: float
    has_slot: bool


class Traffic:
    """Slots of the router for the replicas of one service."""

    def __init__(self, service: str, router: Haproxy) -> None:
        self._service, self._router = service, router
        self._needed, self._starts = 0, 0
        self._seen: dict[int, Slot] = {}
        self._places: dict[int, _Place] = {}
        self._owners: dict[int, Variant] = {}
        self._answered: dict[Variant, Answered] = {}
        self._leaving: list[_Leaving] = []

    @property
    def leaving(self) -> list[Replica]:
        """Replicas that are being ended."""
        return [each.replica for each in self._leaving]

    def free_slots(self, count: int, used: set[int]) -> list[int]:
        """So many slots that nobody uses. Raises RouterFailed."""
        # A replica that is draining still needs its slot.
        used = used | {each.replica.slot for each in self._leaving if each.has_slot}
        needed = max(FEWEST_SLOTS, len(used) + 2 * count, self._needed)
        self._router.require_slots(self._service, needed)
        self._needed = needed
        return [slot for slot in range(needed) if slot not in used][:count]

    def socket_of(self, slot: int) -> Path:
        """Where the router finds the replica in the slot."""
        return self._router.socket_of(self._service, slot)

    def look(self) -> None:
        """Read what the router has counted. Raises OSError, or RouterFailed where it refuses."""
        if self._router.starts != self._starts:
            # A restarted router has empty slots and counts from 0.
            self._starts, self._places, self._seen = self._router.starts, {}, {}
        self._router.require_slots(self._service, self._needed)
        slots = self._router.slots(self._service) if self._needed else {}
        for number, slot in slots.items():
            if (owner := self._owners.get(number)) is not None:
                self._count(owner, slot, self._seen.get(number, NO_SLOT))
        self._seen = slots

    def _count(self, owner: Variant, slot: Slot, before: Slot) -> None:
        if slot.requests < before.requests:
            before = NO_SLOT  # The router began to count anew.
        so_far = self.answered(owner)
        self._answered[owner] = Answered(
            so_far.requests + slot.requests - before.requests,
            so_far.errors + max(0, slot.errors - before.errors),
        )

    def answered(self, variant: Variant) -> Answered:
        """What the variant has answered."""
        return self._answered.get(variant, Answered())

    def forget(self, kept: set[Variant]) -> None:
        """Forget what variants have answered that are gone."""
        owners = kept | set(self._owners.values())
        self._answered = {v: answered for v, answered in self._answered.items() if v in owners}

    def answers(self, replica: Replica) -> bool:
        """Whether the replica is ready, and the router finds it so."""
        is_placed = replica.slot in self._places
        return replica.is_ready and (not is_placed or self._seen.get(replica.slot, NO_SLOT).is_up)

    def share(
        self, replicas: Mapping[Variant, list[Replica]], shares: Mapping[Variant, int]
    ) -> None:
        """Give each variant its percent of the traffic. Raises OSError or RouterFailed."""
        wanted: list[tuple[int, Variant, Replica]] = []
        for variant, all_of_it in replicas.items():
            ready = [r for r in all_of_it if r.is_ready]
            count = sum(map(self.answers, ready)) or len(ready)
            percent = shares.get(variant, 0)
            # Rounding to 0 would take all traffic from a variant that has a share.
            weight = max(1, round(LARGEST_WEIGHT * percent / 100 / max(1, count))) if percent else 0
            wanted += [(weight, variant, replica) for replica in ready]
        # The heaviest first: no request finds only slots that were emptied.
        for weight, variant, replica in sorted(wanted, key=lambda each: -each[0]):
            self._place(replica, variant, weight)

    def _place(self, replica: Replica, variant: Variant, weight: int) -> None:
        port, slot = None if replica.has_socket else replica.port, replica.slot
        place = _Place(replica.process.pid, port, replica.grpc_port, weight)
        before = self._places.get(slot)
        if before == place:
            return
        if before is None or before.pid != place.pid:
            self._router.place(self._service, slot, place.port, place.grpc_port, weight)
            # The router was not read again yet; until then `answers` must not find the slot down.
            self._seen[slot] = self._seen.get(slot, NO_SLOT)._replace(is_up=True)
        else:
            self._router.weigh(self._service, slot, weight)
        self._places[slot], self._owners[slot] = place, variant

    def drop(self, replicas: list[Replica]) -> None:
        """End the replicas, whose slots others take. Raises OSError or RouterFailed."""
        for replica in replicas:
            replica.stop()
            self._leaving.append(_Leaving(replica, time.monotonic(), has_slot=False))
        # Only now, because the router may fail here and the processes must end nevertheless.
        for replica in replicas:
            if self._places.pop(replica.slot, None):
                self._router.close(self._service, replica.slot)

    def leave(self, replicas: list[Replica]) -> None:
        """End the replicas once they have answered their requests.

        Raises OSError or RouterFailed.
        """
        now = time.monotonic()
        self._leaving += [_Leaving(replica, now, has_slot=True) for replica in replicas]
        for replica in replicas:
            if self._places.pop(replica.slot, None):
                self._router.drain(self._service, replica.slot)

    def settle(self) -> None:
        """Stop what has answered its last request. Raises OSError or RouterFailed."""
        for each in list(self._leaving):
            replica = each.replica
            is_idle = not self._seen.get(replica.slot, NO_SLOT).sessions
            if is_idle or time.monotonic() - each.since > DRAIN_WITHIN_S:
                replica.stop()
            if replica.has_ended:
                self._leaving.remove(each)
                if each.has_slot and self._owners.pop(replica.slot, None):
                    self._router.close(self._service, replica.slot)
