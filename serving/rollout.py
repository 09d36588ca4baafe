"""The rollout of a service as a pure state machine: which version answers what share of traffic.

`advance` takes a state, an event and the time, and gives the next state; `shares` and `kept` say
what a state means for traffic and for replicas. Nothing here reads a clock or does input or output,
so the reconciler and the cluster's driver carry out the same decisions.

A version is only accepted (`serving`) once all its replicas were ready and it stayed healthy in
every step. Until the next one is accepted, the accepted one keeps its replicas, and every share
returns to it when the candidate fails, is stopped, or gives way to another deployment.
"""

from dataclasses import dataclass
from typing import Literal

from engine.protocol import Contract

ALL = 100
Outcome = Literal["under_way", "reached", "refused"]
Phase = Literal["starting", "canary", "serving", "rolled_back"]


@dataclass(frozen=True)
class Variant:
    """A version of a service, with one set of settings."""

    version: str
    settings: str = ""
    """What tells apart the settings that a version is started with."""


class Candidate(Contract):
    """A variant that is to take over."""

    variant: Variant
    steps: tuple[int, ...]
    """Percents of the traffic, ending with 100; none where it takes over once it is ready."""
    step_s: float
    step: int | None = None
    """Which of the steps it is in; None while it starts."""
    since: float = 0.0
    """When the step began, or when the candidate last lacked a replica in it."""


class Rollout(Contract):
    """How far the rollout is, and what was last seen of the replicas."""

    target: Variant | None = None
    """What was deployed last."""
    serving: Variant | None = None
    """The variant that was accepted last: traffic returns to it."""
    candidate: Candidate | None = None
    spare: Variant | None = None
    """A former candidate that answers while the accepted variant has no replica."""
    outcome: Outcome = "under_way"
    """Of the deployment of the target."""
    why: str = ""
    """Why the target was refused."""
    ready: frozenset[Variant] = frozenset()
    """Variants of which at least one replica answers."""
    whole: frozenset[Variant] = frozenset()
    """Variants of which every replica answers."""


class Deploy(Contract):
    """The variant was deployed."""

    variant: Variant
    steps: tuple[int, ...]
    step_s: float


class Seen(Contract):
    """What the replicas are at this moment; comes at least as often as anything changes."""

    ready: frozenset[Variant]
    whole: frozenset[Variant]


class Failed(Contract):
    """The variant does not start, died, or answered with errors."""

    variant: Variant
    why: str


class Stopped(Contract):
    """Somebody stopped the deployment of the target."""

    why: str


class Undeployed(Contract):
    """Nothing is to be served."""


class Restarted(Contract):
    """The process that carries out the rollout restarted, with the state it had recorded."""


Event = Deploy | Seen | Failed | Stopped | Undeployed | Restarted


def advance(state: Rollout, event: Event, now: float) -> Rollout:
    """The state after the event; `now` is in seconds of a clock that the caller chooses."""
    match event:
        case Deploy():
            return _deployed(state, event)
        case Seen():
            return _seen(state, event, now)
        case Failed():
            # No stand-in: a candidate that failed may answer with errors.
            return _refused(state, event.why) if _is_tried(state, event.variant) else state
        case Stopped():
            return _stopped(state, event.why)
        case Undeployed():
            return Rollout()
        case Restarted():
            # `since` is a time of an earlier process's clock, and this one has seen no replica yet.
            changed = {"ready": frozenset(), "whole": frozenset()}
            return state.model_copy(update={**changed, "candidate": _timed(state.candidate, now)})


def shares(state: Rollout) -> dict[Variant, int]:
    """Percent of the traffic by variant: 100 in all once a variant was accepted, else nothing.

    A variant without a replica that answers has a share only where no other has one.
    """
    if state.serving is None:
        return {}
    wanted = {state.serving: ALL}
    candidate = state.candidate
    if candidate is not None and candidate.step is not None:
        percent = candidate.steps[candidate.step]
        wanted = {state.serving: ALL - percent, candidate.variant: percent}
    if all(variant in state.ready for variant, percent in wanted.items() if percent):
        return {variant: percent for variant, percent in wanted.items() if percent}
    for variant in _in_order(state):
        if variant in state.ready:
            return {variant: ALL}
    return {state.serving: ALL}


def answering(state: Rollout) -> dict[Variant, int]:
    """Percent of the traffic that each variant answers; nothing while no replica answers."""
    return {v: percent for v, percent in shares(state).items() if v in state.ready}


def kept(state: Rollout) -> tuple[Variant, ...]:
    """Variants whose replicas are to run, the accepted one first; all others end."""
    return tuple(dict.fromkeys(_in_order(state)))


def phase(state: Rollout) -> Phase:
    """How far the deployment of the target is."""
    if state.outcome == "refused":
        return "rolled_back"
    if state.candidate is not None:
        return "starting" if state.candidate.step is None else "canary"
    is_reached = state.outcome == "reached" and state.target in state.whole
    return "serving" if is_reached else "starting"


def message(state: Rollout) -> str:
    """Why the target was refused and what answers in its place; empty where it was not."""
    if state.outcome != "refused":
        return ""
    if state.serving is None:
        return f"{state.why}; nothing serves"
    return f"{state.why}; version {state.serving.version} has all traffic"


def _in_order(state: Rollout) -> list[Variant]:
    candidate = state.candidate.variant if state.candidate else None
    return [v for v in (state.serving, candidate, state.spare) if v is not None]


def _deployed(state: Rollout, event: Deploy) -> Rollout:
    changed = {"target": event.variant, "outcome": "under_way", "why": ""}
    candidate = state.candidate
    is_same = candidate is not None and (
        (candidate.variant, candidate.steps, candidate.step_s)
        == (event.variant, event.steps, event.step_s)
    )
    # A driver that is retried deploys the same again, which must not begin the steps anew.
    if is_same:
        return state.model_copy(update=changed)
    changed["spare"] = _stand_in(state)
    changed["candidate"] = None
    if event.variant != state.serving:
        changed["candidate"] = Candidate(
            variant=event.variant, steps=event.steps, step_s=event.step_s
        )
    return state.model_copy(update=changed)


def _seen(state: Rollout, event: Seen, now: float) -> Rollout:
    known = frozenset(kept(state))
    changed = {"ready": event.ready & known, "whole": event.whole & event.ready & known}
    state = state.model_copy(update=changed)
    if state.serving in state.ready:
        state = state.model_copy(update={"spare": None})
    candidate = state.candidate
    if candidate is None:
        is_reached = state.outcome == "under_way" and state.target in state.whole
        return state.model_copy(update={"outcome": "reached"}) if is_reached else state
    return _moved(state, candidate, now)


def _moved(state: Rollout, candidate: Candidate, now: float) -> Rollout:
    """The state with the candidate one step further, where it is time."""
    if candidate.variant not in state.whole:
        return state.model_copy(update={"candidate": _timed(candidate, now)})
    if state.serving is None or not candidate.steps:
        return _accepted(state, candidate)
    if candidate.step is None:
        return _in_step(state, candidate, 0, now)
    if now - candidate.since < candidate.step_s:
        return state
    if candidate.step + 1 == len(candidate.steps):
        return _accepted(state, candidate)
    return _in_step(state, candidate, candidate.step + 1, now)


def _accepted(state: Rollout, candidate: Candidate) -> Rollout:
    changed = {"serving": candidate.variant, "candidate": None, "spare": None, "outcome": "reached"}
    return state.model_copy(update=changed)


def _in_step(state: Rollout, candidate: Candidate, step: int, now: float) -> Rollout:
    changed = candidate.model_copy(update={"step": step, "since": now})
    return state.model_copy(update={"candidate": changed})


def _timed(candidate: Candidate | None, now: float) -> Candidate | None:
    """The candidate, whose step begins anew."""
    if candidate is None or candidate.step is None:
        return candidate
    return candidate.model_copy(update={"since": now})


def _is_tried(state: Rollout, variant: Variant) -> bool:
    """Whether the deployment of the variant is under way."""
    return state.outcome == "under_way" and state.target == variant


def _refused(state: Rollout, why: str) -> Rollout:
    return state.model_copy(update={"candidate": None, "outcome": "refused", "why": why})


def _stopped(state: Rollout, why: str) -> Rollout:
    if state.outcome != "under_way":
        return state
    # The candidate goes on answering for as long as the accepted variant has no replica.
    return _refused(state.model_copy(update={"spare": _stand_in(state)}), why)


def _stand_in(state: Rollout) -> Variant | None:
    """The variant that answers in place of the accepted one, which has no replica now."""
    if state.serving is None or state.serving in state.ready:
        return None
    others = [v for v in _in_order(state) if v != state.serving and v in state.ready]
    return others[0] if others else None
