"""One service: carries out its rollout with replicas on this machine and the router."""

import hashlib
import time
from pathlib import Path

from engine.protocol import Contract, write_atomically
from serving.contract import Answering, Deployment, ServiceStatus, StopOrder
from serving.haproxy import Haproxy, RouterFailed
from serving.processes import Processes
from serving.replicas import Replicas
from serving.rollout import (
    Candidate,
    Deploy,
    Event,
    Failed,
    Restarted,
    Rollout,
    Seen,
    Stopped,
    Undeployed,
    Variant,
    advance,
    answering,
    kept,
    message,
    phase,
    shares,
)
from serving.traffic import Answered, Traffic

RECORD = "rollout.json"
MOST_ERRORS = 0.02
"""Share of server errors at which a candidate is refused."""
NOT_OF_A_REPLICA = {"request", "asked_at", "version", "canary", "step_s", "most_replicas"}
"""Parts of a deployment that its replicas are not started with."""


class Record(Contract):
    """What a reconciler that starts anew must know of a service."""

    deployment: Deployment | None = None
    """The deployment that was taken up last."""
    rollout: Rollout = Rollout()
    deployments: list[Deployment] = []
    """Deployments of the variants that are kept."""


def variant_of(deployment: Deployment) -> Variant:
    """The variant that the deployment asks for."""
    settings = deployment.model_dump_json(exclude=NOT_OF_A_REPLICA)
    return Variant(
        version=deployment.version, settings=hashlib.sha256(settings.encode()).hexdigest()[:12]
    )


class Fleet:
    """Pursues the deployment of one service, a step at a time and without ever waiting."""

    def __init__(self, service: str, router: Haproxy, processes: Processes, folder: Path) -> None:
        """`folder` has the record of the service, and the logs of its replicas.

        Raises OSError, or ValueError when there is a record that cannot be read.
        """
        self.service, self._router, self._processes = service, router, processes
        self._path, self._logs = folder / RECORD, folder / "logs"
        self._traffic = Traffic(service, router)
        self._groups: dict[Variant, Replicas] = {}
        self._step: tuple[Candidate, Answered] | None = None
        record = _read(self._path)
        self._recorded = record
        self._deployment = record.deployment
        self._deployments = {
            variant_of(deployment): deployment for deployment in record.deployments
        }
        self._rollout = advance(record.rollout, Restarted(), time.monotonic())

    @property
    def is_empty(self) -> bool:
        """Whether no process is left."""
        return not (self._groups or self._traffic.leaving)

    @property
    def deployment(self) -> Deployment | None:
        """The deployment that was taken up last."""
        return self._deployment

    def pursue(self, deployment: Deployment | None, stop: StopOrder | None = None) -> None:
        """Take one step towards the deployment; None means to stop serving.

        Raises OSError or RouterFailed when a part of the step failed; the next call tries again.
        """
        self._traffic.look()
        self._traffic.settle()
        if deployment is None:
            self._deployment = None
            self._advance(Undeployed())
        elif deployment != self._deployment:
            self._take_up(deployment)
        if stop is not None and self._deployment and stop.request == self._deployment.request:
            self._advance(Stopped(why=stop.reason))
        problem = self._supervise()
        self._judge()
        self._advance(self._look())
        self._lead()
        self._record()
        # Raised last, so that a failing variant keeps no other from its share of the traffic.
        if problem is not None:
            raise problem

    def wind_down(self) -> None:
        """Take one step towards ending every process; the next reconciler goes on from here."""
        self._traffic.look()
        self._traffic.settle()
        self._end(list(self._groups))

    def _advance(self, event: Event) -> None:
        self._rollout = advance(self._rollout, event, time.monotonic())

    def _take_up(self, deployment: Deployment) -> None:
        variant, serving = variant_of(deployment), self._rollout.serving
        is_same_version = serving is not None and serving.version == variant.version
        # The version was accepted before and only its settings differ, so it needs no canary.
        steps = () if is_same_version else tuple(deployment.canary)
        self._deployments[variant] = deployment
        # A fault of an earlier deployment must not refuse this one at once.
        if group := self._groups.get(variant):
            group.fault = ""
        self._advance(Deploy(variant=variant, steps=steps, step_s=deployment.step_s))
        self._deployment = deployment

    def _supervise(self) -> OSError | RouterFailed | None:
        """Keep every replica running; what one variant lacks stops no other."""
        problem = None
        for variant in kept(self._rollout):
            try:
                group, now = self._group(variant), time.monotonic()
                self._traffic.drop(group.without_dead(now))
                group.start_due(now)
            except (OSError, RouterFailed) as error:
                problem = error
        return problem

    def _group(self, variant: Variant) -> Replicas:
        if variant not in self._groups:
            deployment = self._deployments[variant]
            used = {slot for group in self._groups.values() for slot in group.slots}
            slots = self._traffic.free_slots(deployment.replicas, used)
            self._groups[variant] = Replicas(
                deployment, slots, self._traffic.socket_of, self._logs, self._processes
            )
        return self._groups[variant]

    def _judge(self) -> None:
        """Refuse a candidate that does not start, or that answers with errors."""
        candidate = self._rollout.candidate
        if candidate is None or candidate.variant not in self._groups:
            self._step = None
            return
        variant, fault = candidate.variant, self._groups[candidate.variant].fault
        answered = self._traffic.answered(variant)
        # `since` changes whenever a replica is missing, but errors are counted over the whole step.
        same = candidate.model_copy(update={"since": 0.0})
        if self._step is None or self._step[0] != same:
            self._step = (same, answered)
        counts = answered.since(self._step[1])
        if not fault and counts.errors > max(1, MOST_ERRORS * counts.requests):
            percent = shares(self._rollout).get(variant, 0)
            fault = (
                f"version {variant.version} answered with errors ({counts.errors} of "
                f"{counts.requests} requests) at {percent} % of the traffic (its log is in "
                f"{self._logs})"
            )
        if fault:
            self._advance(Failed(variant=variant, why=fault))

    def _look(self) -> Seen:
        ready, whole = set(), set()
        for variant, group in self._groups.items():
            count = sum(map(self._traffic.answers, group.running))
            if count:
                ready.add(variant)
            if count == group.deployment.replicas:
                whole.add(variant)
        return Seen(ready=frozenset(ready), whole=frozenset(whole))

    def _lead(self) -> None:
        """Give every variant its share of the traffic, and end those that are not kept."""
        wanted = set(kept(self._rollout))
        # The variants that stay get their shares before the others are drained, so that every
        # request finds a replica.
        staying = {v: group.running for v, group in self._groups.items() if v in wanted}
        self._traffic.share(staying, shares(self._rollout))
        self._end([variant for variant in self._groups if variant not in wanted])
        self._deployments = {v: r for v, r in self._deployments.items() if v in wanted}
        self._traffic.forget(wanted)

    def _end(self, variants: list[Variant]) -> None:
        for variant in variants:
            self._traffic.leave(self._groups.pop(variant).running)

    def _record(self) -> None:
        # A reconciler that starts anew has no replicas yet, so what was seen is not recorded.
        unseen = self._rollout.model_copy(update={"ready": frozenset(), "whole": frozenset()})
        deployments = list(self._deployments.values())
        record = Record(deployment=self._deployment, rollout=unseen, deployments=deployments)
        if record == self._recorded:
            return
        if self._deployment is None:
            self._path.unlink(missing_ok=True)
        else:
            write_atomically(self._path, record.model_dump_json(indent=2))
        self._recorded = record

    def status(self) -> ServiceStatus | None:
        """What has been reached; None before the first deployment and after the last."""
        state, deployment = self._rollout, self._deployment
        if deployment is None or state.target is None:
            return None
        groups = [r for group in self._groups.values() for r in group.running]
        return ServiceStatus(
            service=self.service,
            state=phase(state),
            target=state.target.version,
            request=deployment.request,
            serving=state.serving.version if state.serving else None,
            weight=shares(state).get(state.target, 0),
            url=f"{self._router.url}/{self.service}/predict",
            message=message(state),
            replicas=[replica.status() for replica in [*groups, *self._traffic.leaving]],
            answering=[self._answering(*each) for each in answering(state).items()],
        )

    def _answering(self, variant: Variant, percent: int) -> Answering:
        deployment, answered = self._groups[variant].deployment, self._traffic.answered(variant)
        return Answering(
            version=variant.version,
            model_version=deployment.model_version,
            artefact_digest=deployment.artefact_digest,
            percent=percent,
            requests=answered.requests,
            errors=answered.errors,
        )


def _read(path: Path) -> Record:
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Record()
