"""The rollout over every order of deployments, stops, ends, crashes and restarts."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.rollout import (
    Deploy,
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

V1, V2, V3 = (Variant(version=f"v{n}") for n in (1, 2, 3))
V1_LARGER = Variant(version="v1", settings="two replicas")
STEPS = (10, 50, 100)
REPLICAS = 2
STEP_S = 5.0


class World:
    """Replicas that start and crash, and what carries the rollout out over them."""

    def __init__(self) -> None:
        self.state = Rollout()
        self.now = 100.0
        self.up: dict[Variant, int] = {}

    def happen(self, event) -> None:
        self.state = advance(self.state, event, self.now)
        self.look()

    def look(self) -> None:
        self.up = {v: self.up.get(v, 0) for v in kept(self.state)}
        ready = frozenset(v for v, count in self.up.items() if count)
        whole = frozenset(v for v, count in self.up.items() if count == REPLICAS)
        self.state = advance(self.state, Seen(ready=ready, whole=whole), self.now)
        self.up = {v: self.up.get(v, 0) for v in kept(self.state)}

    def deploy(self, variant, steps=STEPS) -> None:
        self.happen(Deploy(variant=variant, steps=steps, step_s=STEP_S))

    def start(self, variant) -> None:
        if variant in self.up:
            self.up[variant] = REPLICAS
            self.look()

    def crash(self, variant) -> None:
        if variant in self.up:
            self.up[variant] = 0
            self.look()

    def wait(self, seconds=STEP_S) -> None:
        self.now += seconds
        self.look()

    def shares(self) -> dict[str, int]:
        return {variant.version: percent for variant, percent in shares(self.state).items()}

    def served(self, variant) -> "World":
        """With the variant accepted, and every replica of it ready."""
        self.deploy(variant)
        self.start(variant)
        for _ in STEPS:
            self.wait()
        assert phase(self.state) == "serving"
        return self

    def in_canary(self, variant, percent) -> "World":
        self.deploy(variant)
        self.start(variant)
        while shares(self.state).get(variant, 0) < percent:
            self.wait()
        assert shares(self.state)[variant] == percent
        return self


def test_a_candidate_passes_its_steps_one_by_one():
    world, seen = World().served(V1), []
    world.deploy(V2)
    world.start(V2)
    while phase(world.state) == "canary":
        seen.append(world.shares())
        world.wait()
    assert seen == [{"v1": 90, "v2": 10}, {"v1": 50, "v2": 50}, {"v2": 100}]
    assert world.state.serving == V2


def test_going_back_in_the_last_step_returns_the_whole_traffic_at_once():
    world = World().served(V1).in_canary(V2, 100)
    world.deploy(V1)
    assert (world.shares(), phase(world.state)) == ({"v1": 100}, "serving")
    assert kept(world.state) == (V1,)


def test_a_third_version_in_the_last_step_of_the_second_returns_traffic_to_the_first():
    world = World().served(V1).in_canary(V2, 100)
    world.deploy(V3)
    assert world.shares() == {"v1": 100}
    assert kept(world.state) == (V1, V3)


def test_a_stopped_deployment_says_which_version_has_the_traffic():
    world = World().served(V1).in_canary(V2, 10)
    world.happen(Stopped(why="the deployment of v2 was stopped"))
    assert phase(world.state) == "rolled_back"
    assert world.shares() == {"v1": 100}
    assert message(world.state) == "the deployment of v2 was stopped; version v1 has all traffic"


def test_a_first_deployment_that_is_stopped_leaves_nothing():
    world = World()
    world.deploy(V1)
    world.happen(Stopped(why="the deployment of v1 was stopped"))
    assert (kept(world.state), shares(world.state)) == ((), {})
    assert message(world.state).endswith("nothing serves")


def test_a_deployment_that_was_accepted_is_stopped_too_late():
    world = World().served(V1)
    world.happen(Stopped(why="too late"))
    assert (world.shares(), phase(world.state)) == ({"v1": 100}, "serving")


def test_a_restart_in_the_middle_keeps_the_version_that_served_and_the_step():
    world = World().served(V1).in_canary(V2, 50)
    world.state = Rollout.model_validate_json(world.state.model_dump_json())
    world.up, world.now = {}, 0.0
    world.happen(Restarted())
    assert answering(world.state) == {}
    world.start(V1)
    world.start(V2)
    assert world.shares() == {"v1": 50, "v2": 50}
    world.happen(Failed(variant=V2, why="it died"))
    assert world.shares() == {"v1": 100}


def test_the_time_of_a_step_counts_only_while_every_replica_of_the_candidate_answers():
    world = World().served(V1).in_canary(V2, 10)
    world.crash(V2)
    world.wait()
    world.start(V2)
    assert world.shares() == {"v1": 90, "v2": 10}
    world.wait()
    assert world.shares() == {"v1": 50, "v2": 50}


def test_a_candidate_answers_alone_while_the_accepted_version_has_no_replica():
    world = World().served(V1).in_canary(V2, 10)
    world.crash(V1)
    assert world.shares() == {"v2": 100}
    world.happen(Stopped(why="stopped"))
    assert world.shares() == {"v2": 100}
    world.start(V1)
    assert world.shares() == {"v1": 100}
    assert kept(world.state) == (V1,)


def test_other_settings_of_a_version_take_over_without_a_canary():
    world = World().served(V1)
    world.deploy(V1_LARGER, steps=())
    assert shares(world.state) == {V1: 100}
    world.start(V1_LARGER)
    assert shares(world.state) == {V1_LARGER: 100}


class AnyOrder(RuleBasedStateMachine):
    """Everything that can happen to a service, in every order."""

    variants = st.sampled_from([V1, V2, V3, V1_LARGER])

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.accepted: set[Variant] = set()

    @property
    def state(self) -> Rollout:
        return self.world.state

    @rule(variant=variants, steps=st.sampled_from([(10, 50, 100), (100,), (10, 100)]))
    def deploy(self, variant, steps) -> None:
        serving = self.state.serving
        is_update = serving is not None and serving.version == variant.version
        self.world.deploy(variant, () if is_update else steps)
        if variant == serving and serving in self.state.ready:
            assert shares(self.state) == {serving: 100}

    @rule(variant=variants)
    def start(self, variant) -> None:
        self.world.start(variant)

    @rule(variant=variants)
    def crash(self, variant) -> None:
        self.world.crash(variant)

    @rule(variant=variants)
    def lose_one_replica(self, variant) -> None:
        if self.world.up.get(variant):
            self.world.up[variant] -= 1
            self.world.look()

    @rule(seconds=st.sampled_from([0.1, STEP_S]))
    def wait(self, seconds) -> None:
        before = dict(shares(self.state))
        self.world.wait(seconds)
        candidate = self.state.candidate
        if candidate is not None and self.state.serving in self.state.ready:
            limit = next((s for s in candidate.steps if s > before.get(candidate.variant, 0)), 100)
            assert shares(self.state).get(candidate.variant, 0) <= limit

    @precondition(lambda self: self.state.candidate is not None)
    @rule()
    def fail(self) -> None:
        failed = self.state.candidate.variant
        self.world.happen(Failed(variant=failed, why="it answered with errors"))
        assert shares(self.state).get(failed, 0) == 0 or failed == self.state.spare

    @rule()
    def stop(self) -> None:
        serving, was = self.state.serving, phase(self.state)
        self.world.happen(Stopped(why="it was stopped"))
        if was not in ("serving", "rolled_back") and self.state.outcome == "refused":
            assert self.state.candidate is None
            assert self.state.serving == serving
            assert "it was stopped" in message(self.state)

    @rule()
    def undeploy(self) -> None:
        self.world.happen(Undeployed())
        self.accepted = set()
        assert (kept(self.state), shares(self.state), answering(self.state)) == ((), {}, {})

    @rule()
    def restart(self) -> None:
        self.world.state = Rollout.model_validate_json(self.state.model_dump_json())
        self.world.up, self.world.now = {}, 0.0
        serving = self.state.serving
        self.world.happen(Restarted())
        assert self.state.serving == serving

    @invariant()
    def a_version_that_was_accepted_is_what_traffic_returns_to(self) -> None:
        if self.accepted:
            assert self.state.serving is not None
        if self.state.serving is not None and self.state.serving not in self.accepted:
            assert self.state.serving in self.state.whole
            self.accepted.add(self.state.serving)

    @invariant()
    def the_shares_are_the_whole_traffic(self) -> None:
        assert sum(shares(self.state).values()) == (100 if self.accepted else 0)
        assert all(percent > 0 for percent in shares(self.state).values())

    @invariant()
    def only_replicas_that_run_have_a_share(self) -> None:
        assert set(shares(self.state)) <= set(kept(self.state))

    @invariant()
    def what_is_reported_is_what_answers(self) -> None:
        up = {variant for variant, count in self.world.up.items() if count}
        reported = answering(self.state)
        assert set(reported) <= up
        if self.accepted and up & set(kept(self.state)):
            assert sum(reported.values()) == 100

    @invariant()
    def a_serving_deployment_answers_alone(self) -> None:
        if phase(self.state) == "serving":
            assert answering(self.state) == {self.state.target: 100}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
