"""Episodes of a policy in environments side by side, with one call of the policy for a step of all.

Shapes: N episodes of a scenario = seeds * episodes, in the order of the seeds.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from engine.protocol import Refused, is_outage
from simulations.environments import Environment, VariedEnvironment, horizon_of
from simulations.kinds.episodes import NOISES
from simulations.outcomes import Scenario
from simulations.policy_fit import PolicyFit
from simulations.trials import Measurer

if TYPE_CHECKING:
    from simulations.kinds.episodes import Episodes
    from simulations.subject import Subject
    from simulations.watch import Watch

RESET, STEP = 2, 5
"""Lengths of the tuples that `reset` and `step` of an environment return."""


class Played(NamedTuple):
    """What is kept of an episode."""

    gained: float
    """Sum of the rewards."""
    steps: float
    terminated: float
    """1 where the environment ended the episode, 0 where a limit of time did."""
    cost: float
    """Sum of `cost` in the environment's info; not a number where that never has the key."""


class Unit(NamedTuple):
    """One episode of a scenario; the same in all scenarios."""

    place: int
    seed: int
    episode: int

    def generator(self) -> np.random.Generator:
        """The generator of the episode's noise."""
        return np.random.default_rng((self.seed, self.episode))

    def reset_seed(self) -> int:
        """What the environment is reset with."""
        return int(np.random.SeedSequence((self.seed, self.episode)).generate_state(1)[0])


@dataclass(frozen=True)
class Stage:
    """An environment that the policy fits, and where its code is watched."""

    varied: VariedEnvironment
    fit: PolicyFit
    watch: "Watch"
    horizon: int
    zeros: frozenset[str]
    """Varied names whose levels are values, because their nominal value is 0."""

    def fault(self, place: str, text: str) -> Refused:
        """The error for an answer that cannot be used."""
        return Refused(
            f"the environment {self.varied.name!r} {text}, in {place}: mend its code, or vary less"
        )


def stage_of(suite: "Episodes", subject: "Subject", watch: "Watch") -> Stage:
    """Raises Refused where the environment cannot be made, has not what is varied, or does not
    fit the policy."""

    def make() -> Stage:
        varied = VariedEnvironment(suite.environment, suite.arguments, suite.derive)
        names = [name for name in suite.vary if name not in NOISES]
        environment = varied.probe(names)
        fit = PolicyFit(suite.environment, environment, subject.signature)
        horizon = suite.horizon or horizon_of(environment)
        _close(environment)
        zeros = frozenset(name for name in names if varied.is_zero(name))
        return Stage(varied, fit, watch, horizon, zeros)

    return watch.call(make, "making the environment")


class Slot:
    """An environment and the episode that runs in it."""

    def __init__(self, stage: Stage, scenario: Scenario) -> None:
        self._stage, self._scenario = stage, scenario
        levels = {n: v for n, v in scenario.parameters.items() if n not in NOISES}
        self._noise = scenario.parameters.get("sensor_noise", 0.0)
        stage.watch.at(lambda: f"making the environment of the scenario {scenario.name!r}")
        self.environment: Environment = stage.varied.make(levels)

    def begin(self, unit: Unit) -> None:
        """Reset the environment for an episode."""
        self.unit, self.generator, self.steps = unit, unit.generator(), 0
        self._gained, self._cost, self._terminated, self._is_over = 0.0, np.nan, False, False
        self._stage.watch.at(self._place)
        told = self._called(self.environment.reset, seed=unit.reset_seed())
        observed, _ = self._parts(told, RESET, "(observation, info)")
        self._observe(observed)

    def step(self, action: Any) -> None:
        """Let the environment take one step."""
        self.steps += 1
        self._stage.watch.at(self._place)
        told = self._called(self.environment.step, action)
        contract = "(observation, reward, terminated, truncated, info)"
        observed, reward, terminated, truncated, info = self._parts(told, STEP, contract)
        self._gained += self._number(reward, "gave the reward")
        if "cost" in info:
            cost = self._number(info["cost"], "gave the cost")
            self._cost = cost if np.isnan(self._cost) else self._cost + cost
        self._terminated = bool(terminated)
        self._is_over = self._terminated or bool(truncated) or self.steps >= self._stage.horizon
        if not self._is_over:
            self._observe(observed)

    @property
    def played(self) -> Played | None:
        """What is kept of the episode; None while it goes on."""
        if not self._is_over:
            return None
        return Played(self._gained, self.steps, self._terminated, self._cost)

    def _observe(self, observed: Any) -> None:
        try:
            self.row = self._stage.fit.row(observed)
        except (ValueError, TypeError) as error:
            raise self._stage.fault(self._place(), str(error)) from error
        if self._noise:
            drawn = self.generator.standard_normal(self.row.shape, np.float32)
            self.row = (self.row + self._noise * drawn).astype(self.row.dtype)

    def _called(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """What code of the environment returns. Raises Refused where it raises; a broken
        connection is no fault of the code, and raised as it is."""
        try:
            return function(*given, **named)
        except (Exception, SystemExit) as error:
            if isinstance(error, OSError) and is_outage(error):
                raise
            text = f"raised {type(error).__name__}: {error}"
            raise self._stage.fault(self._place(), text) from error

    def _parts(self, told: Any, count: int, contract: str) -> tuple[Any, ...]:
        if isinstance(told, tuple) and len(told) == count and isinstance(told[-1], dict):
            return told
        got = f"a tuple of {len(told)}" if isinstance(told, tuple) else f"a {type(told).__name__}"
        if isinstance(told, tuple) and len(told) == count:
            got = f"the info {told[-1]!r:.40}"
        raise self._stage.fault(
            self._place(), f"returned {got}, expected {contract} with a dict of info"
        )

    def _number(self, value: Any, what: str) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self._stage.fault(
                self._place(), f"{what} {value!r:.40}, expected one finite number"
            ) from None
        if not np.isfinite(number):
            raise self._stage.fault(self._place(), f"{what} {number:g}, expected a finite number")
        return number

    def _place(self) -> str:
        what = f"step {self.steps}" if self.steps else "the reset"
        return (
            f"{what} of episode {self.unit.episode} of seed {self.unit.seed} in the scenario "
            f"{self._scenario.name!r}"
        )


def measure(
    suite: "Episodes",
    stage: Stage,
    scenarios: list[Scenario],
    subject: "Subject",
    trials: Callable[[int], AbstractContextManager[Measurer]],
) -> np.ndarray:
    """What is kept of the episodes of all scenarios, float64 [scenarios * N, 4]."""
    with trials(len(scenarios)) as measurer:
        return np.concatenate(
            [
                measurer.measure(
                    scenario.name,
                    lambda scenario=scenario: play(
                        suite, stage, scenario, subject, measurer.still_at
                    ),
                )
                for scenario in scenarios
            ]
        )


def play(
    suite: "Episodes",
    stage: Stage,
    scenario: Scenario,
    subject: "Subject",
    still_at: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """What is kept of the scenario's episodes, float64 [N, len(Played._fields)]."""
    units = _units(suite)
    total = len(suite.seeds) * suite.episodes
    played = np.full((total, len(Played._fields)), np.nan)
    noise = scenario.parameters.get("action_noise", 0.0)
    slots: list[Slot] = []

    def begin() -> None:
        for unit in itertools.islice(units, suite.at_once):
            slots.append(Slot(stage, scenario))
            slots[-1].begin(unit)

    def advance(actions: list[Any]) -> None:
        for slot, action in zip(list(slots), actions, strict=True):
            slot.step(action)
            if (ended := slot.played) is None:
                continue
            played[slot.unit.place] = ended
            following = next(units, None)
            if following is None:
                slots.remove(slot)
                _close(slot.environment)
            else:
                slot.begin(following)

    stage.watch.call(begin)
    while slots:
        rows = np.stack([slot.row for slot in slots])
        actions = stage.fit.actions(subject, rows, noise, [slot.generator for slot in slots])
        stage.watch.call(lambda actions=actions: advance(actions))
        done = int((~np.isnan(played[:, 0])).sum())
        still_at(f"{scenario.name}: {done} of {total} episodes")
    return played


def _units(suite: "Episodes") -> Iterator[Unit]:
    for at, seed in enumerate(suite.seeds):
        for episode in range(suite.episodes):
            yield Unit(at * suite.episodes + episode, seed, episode)


def _close(environment: Environment) -> None:
    # What fails after the last episode changes no outcome.
    with contextlib.suppress(Exception):
        environment.close()
