"""One driver's part in the rollout of a service on a cluster."""

import time

from resources.kubernetes_api.client import AlreadyThere, Cluster
from resources.services.cluster.manifests import entrance, route
from resources.services.cluster.rollout_notes import NoteBook, Notes, Record, annotations, planned
from resources.services.cluster.version import Version, object_name, version_name
from resources.services.local import Superseded
from serving.rollout import Candidate, Deploy, Event, Rollout, Seen, Variant, advance, shares

NOTHING_SEEN = Seen(ready=frozenset(), whole=frozenset())


class ClusterRollout:
    """Carries out the rollout of one version: what it decides is noted before it is done."""

    def __init__(self, cluster: Cluster, service: str, variant: Variant) -> None:
        self._cluster, self._settings = cluster, cluster.settings
        self.service, self._variant = service, variant
        self._notes = NoteBook(cluster)
        self._seen = NOTHING_SEEN
        self._candidate: Candidate | None = None

    def begin(self, version: Version) -> Rollout:
        """The rollout with the version as its target. Raises Superseded or OSError."""
        deployment = version.deployment
        # Without a Gateway nothing divides the traffic.
        steps = tuple(deployment.canary) if self._settings.gateway else (100,)
        event = Deploy(variant=self._variant, steps=steps, step_s=deployment.step_s)
        asked_at = deployment.asked_at or time.time()
        while True:
            notes = self._notes.read(self.service)
            before = self._resumed(notes.record.rollout) if notes else Rollout()
            if notes and notes.record.asked_at > asked_at and before.target != self._variant:
                raise self._superseded(notes)
            rollout = advance(before, event, time.time())
            record = Record(
                rollout=_recorded(rollout),
                request=deployment.request,
                asked_at=asked_at,
                mark=version.mark,
                served=_served(notes),
            )
            if self._is_noted(record, version, notes):
                self._candidate = rollout.candidate
                return rollout

    def _is_noted(self, record: Record, version: Version, notes: Notes | None) -> bool:
        if notes is not None:
            return self._notes.write(self.service, record, notes)
        noted = annotations(self.service, record)
        try:
            self._cluster.create(entrance(version, self._settings, noted))
        except AlreadyThere:
            return False
        return True

    def advance(self, event: Event) -> Rollout:
        """The rollout after the event, which is noted. Raises Superseded or OSError."""
        if isinstance(event, Seen):
            self._seen = event
        while True:
            notes = self._notes.read(self.service)
            if notes is None or notes.record.rollout.target != self._variant:
                raise self._superseded(notes)
            rollout = advance(self._resumed(notes.record.rollout), event, time.time())
            recorded = _recorded(rollout)
            if recorded == notes.record.rollout or self._notes.write(
                self.service, notes.record.model_copy(update={"rollout": recorded}), notes
            ):
                self._candidate = rollout.candidate
                return rollout

    def _resumed(self, recorded: Rollout) -> Rollout:
        """The noted rollout, with what only this driver knows."""
        changed: dict[str, object] = {"ready": self._seen.ready, "whole": self._seen.whole}
        candidate, known = recorded.candidate, self._candidate
        if candidate is not None:
            same = known is not None and (known.variant, known.step) == (
                candidate.variant,
                candidate.step,
            )
            since = known.since if known is not None and same else time.time()
            changed["candidate"] = candidate.model_copy(update={"since": since})
        return recorded.model_copy(update=changed)

    def lead(self, rollout: Rollout) -> None:
        """Give every version its share of the traffic. Raises OSError or ClusterRefused.

        Another driver may have noted something meanwhile; then its shares are what is applied.
        """
        wanted = {variant.version: percent for variant, percent in shares(rollout).items()}
        while True:
            notes = self._notes.read(self.service)
            if notes is None:
                self._cluster.delete("HTTPRoute", object_name(self.service))
                return
            if notes.record.rollout != _recorded(rollout):
                wanted = planned(notes.record.rollout)
            self._route(wanted)
            heaviest = max(wanted, key=lambda version: wanted[version] == 100, default=None)
            selected = heaviest or notes.selected
            if selected != notes.selected and not self._notes.select(self.service, selected, notes):
                continue
            # If the notes have changed meanwhile, shares from before may have been applied last.
            after = self._notes.read(self.service)
            if after is not None and after.record == notes.record:
                return

    def _route(self, wanted: dict[str, int]) -> None:
        if not self._settings.gateway:
            return
        name = object_name(self.service)
        weights = {version_name(self.service, v): percent for v, percent in wanted.items()}
        http_route = self._cluster.get("HTTPRoute", name)
        rules = http_route["spec"]["rules"] if http_route else []
        present = {b["name"]: b["weight"] for rule in rules for b in rule["backendRefs"]}
        if not weights and http_route:
            self._cluster.delete("HTTPRoute", name)
        elif weights and present != weights:
            self._cluster.apply(route(self.service, weights, self._settings))

    def _superseded(self, notes: Notes | None) -> Superseded:
        if notes is None:
            return Superseded(f"{self.service} is gone: it was undeployed")
        target = notes.record.rollout.target
        other = target.version if target else "nothing"
        return Superseded(f"{self.service} {self._variant.version} gives way to {other}")


def _served(notes: Notes | None) -> str:
    """Mark of the deployment that serves."""
    if notes is None:
        return ""
    record = notes.record
    return record.mark if record.rollout.outcome == "reached" else record.served


def _recorded(rollout: Rollout) -> Rollout:
    """What is noted: without what was seen a moment ago, and without the driver's clock."""
    candidate = rollout.candidate
    if candidate is not None:
        candidate = candidate.model_copy(update={"since": 0.0})
    changed = {"ready": frozenset(), "whole": frozenset(), "candidate": candidate}
    return rollout.model_copy(update=changed)
