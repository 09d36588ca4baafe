"""Episodes of a control policy over varied physics, all of them in one vectorised environment.

The dynamics are Gymnasium's CartPole-v1; its attributes take one value per environment.
Shapes: N environments = scenarios * seeds * episodes.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from projects.schema import Dataset, Model
from simulations.kind import SuiteKind, SuiteRun
from simulations.outcomes import Outcomes, Scenario
from simulations.trials import UNRECORDED, Measurer

if TYPE_CHECKING:
    from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement
    from simulations.subject import Subject

Physics = Literal["gravity", "pole_length", "pole_mass", "push_force", "sensor_noise"]

NOMINAL = {
    "gravity": 9.8,
    "pole_length": 0.5,
    "pole_mass": 0.1,
    "push_force": 10.0,
}
"""Metres per second squared; half-length in metres; kilograms; newtons."""
EPISODES_AT_ONCE = 8_192
START = 0.05
"""Episodes start uniformly within this distance of rest, as in CartPole-v1."""


class Episodes(SuiteKind):
    """Episodes of a control policy over varied physics; metrics: survival, return."""

    kind: Literal["episodes"]
    environment: Literal["CartPole-v1"]
    vary: dict[Physics, list[float]]
    """Values each physical parameter takes, as multiples of its nominal value (sensor
    noise: standard deviation in radians and metres)."""
    pairs: list[tuple[Physics, Physics]] = []
    """Parameters varied together over a grid, drawn as failure maps; measured, not gated."""
    gated_within: float = Field(default=1.0, ge=0)
    """Largest relative deviation from nominal that is gated (0.5: from 0.5x to 1.5x)."""
    gated_noise_up_to: float = Field(default=0.0, ge=0)
    """Largest sensor noise that is gated."""
    episodes: int = Field(default=64, ge=1)
    """Episodes per scenario and seed."""
    horizon: int = Field(default=500, ge=1)
    """Steps an episode must last to count as survived."""

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures."""
        return ("survival", "return")

    def misfit(self, model: Model, dataset: Dataset | None) -> str:
        """Why the suite cannot try the model; empty where it can."""
        if dataset is not None:
            return (
                "got an `episodes` suite for a model that learns from a dataset, expected a "
                "control policy: the suite lets it act in an environment"
            )
        learned = model.hyperparameters.get("environment", self.environment)
        if learned != self.environment:
            return (
                f"got a suite of {self.environment!r} for a policy of {learned!r}, expected the "
                "environment that the policy learns in"
            )
        return ""

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """Survival and return of every episode."""
        with run.trials(trials_in(self)) as trials:
            return measure(self, run.subject, trials)

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Survival against each parameter, and a failure map for each pair."""
        from simulations.pictures import curves, share_map

        lines = {}
        for name, values in self.vary.items():
            nominal = 0.0 if name == "sensor_noise" else 1.0
            levels = sorted({*values, nominal})
            lines[name] = {v: "nominal" if v == nominal else f"{name} {v:g}" for v in levels}
        figures = {
            "survival_against_physics": curves(
                measurements, "survival", lines, "multiple of nominal"
            )
        }
        failed = {m.scenario: 1 - m.estimate for m in measurements if m.metric == "survival"}
        for first, second in self.pairs:
            shares = [
                [failed[f"{first} {a:g} {second} {b:g}"] for b in self.vary[second]]
                for a in self.vary[first]
            ]
            figures[f"failure_map_{first}_{second}"] = share_map(
                np.array(shares),
                (first, self.vary[first]),
                (second, self.vary[second]),
                "share of failed episodes",
            )
        return figures

    def evaluations(self, outcomes: list[Outcomes]) -> int:
        """One for each step that an episode lasted."""
        return int(sum(each.values.sum() for each in outcomes if each.metric == "return"))


KIND = Episodes


def scenarios_of(suite: Episodes) -> list[Scenario]:
    """Nominal physics, each parameter varied alone, and the declared pairs over a grid."""
    scenarios = [Scenario("nominal", {}, gated=True)]
    for name, levels in suite.vary.items():
        nominal = 0.0 if name == "sensor_noise" else 1.0
        scenarios += [
            Scenario(f"{name} {level:g}", {name: level}, _is_gated(suite, name, level))
            for level in levels
            if level != nominal
        ]
    for first, second in suite.pairs:
        scenarios += [
            Scenario(f"{first} {a:g} {second} {b:g}", {first: a, second: b}, gated=False)
            for a, b in itertools.product(suite.vary[first], suite.vary[second])
        ]
    return scenarios


def _is_gated(suite: Episodes, name: str, level: float) -> bool:
    if name == "sensor_noise":
        return level <= suite.gated_noise_up_to
    return abs(level - 1) <= suite.gated_within


def groups_of(suite: Episodes) -> list[list[Scenario]]:
    """Scenarios that are run together: enough episodes to make a step cheap, and few enough
    to lose little work with one of them."""
    scenarios = scenarios_of(suite)
    at_once = max(1, EPISODES_AT_ONCE // (len(suite.seeds) * suite.episodes))
    return [scenarios[first : first + at_once] for first in range(0, len(scenarios), at_once)]


def trials_in(suite: Episodes) -> int:
    """Number of trials that `measure` measures."""
    return len(groups_of(suite))


def measure(suite: Episodes, subject: "Subject", trials: Measurer = UNRECORDED) -> list[Outcomes]:
    """Survival (lasted the horizon) and return (steps lasted) of every episode."""
    groups = groups_of(suite)
    scenarios = [scenario for group in groups for scenario in group]
    shape = (len(scenarios), len(suite.seeds), suite.episodes)
    parts = [
        trials.measure(
            f"{group[0].name} to {group[-1].name}",
            lambda group=group: play(suite, group, subject, trials.still_at),
        )
        for group in groups
    ]
    lasted = np.concatenate(parts).reshape(shape).astype(np.float64)
    survived = (lasted >= suite.horizon).astype(np.float64)
    return [
        Outcomes("survival", True, scenarios, suite.seeds, survived, seeds_repeat_units=False),
        Outcomes("return", False, scenarios, suite.seeds, lasted, seeds_repeat_units=False),
    ]


def play(
    suite: Episodes,
    scenarios: list[Scenario],
    subject: "Subject",
    still_at: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """Steps that each episode lasted, int64 [N], at most the horizon."""
    each = len(suite.seeds) * suite.episodes
    environment = _environment(suite, scenarios, each)
    noise_N1 = _per_episode(scenarios, "sensor_noise", 0.0, each)[:, None]
    start_4E, generator = _starts(suite)
    # Needed before the first step; the suite's start states then replace the ones it draws.
    observed, _ = environment.reset(seed=suite.seeds[0])
    environment.state = np.tile(start_4E, len(scenarios))
    observed = environment.state.T.astype(np.float32)
    lasted = np.zeros(environment.num_envs, np.int64)
    alive = np.ones(environment.num_envs, bool)
    is_noisy = bool(noise_N1.any())
    for step in range(suite.horizon):
        if is_noisy:
            drawn = generator.standard_normal(observed.shape, np.float32)
            observed = observed + noise_N1.astype(np.float32) * drawn
        observed, _, terminated, _, _ = environment.step(subject.choices(observed))
        # The step in which the pole falls counts, as in Gymnasium's own reward.
        lasted += alive
        alive &= ~terminated
        if not alive.any():
            break
        still_at(f"step {step + 1} of {suite.horizon}, {int(alive.sum())} episodes go on")
    return lasted


def _environment(suite: Episodes, scenarios: list[Scenario], each: int) -> "CartPoleVectorEnv":
    from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

    # One step more than is played, so that the environment never truncates an episode.
    environment = CartPoleVectorEnv(len(scenarios) * each, max_episode_steps=suite.horizon + 1)
    values = {
        name: nominal * _per_episode(scenarios, name, 1.0, each)
        for name, nominal in NOMINAL.items()
    }
    attributes = {
        "gravity": values["gravity"],
        "length": values["pole_length"],
        "masspole": values["pole_mass"],
        "force_mag": values["push_force"],
        # The constructor of the environment derives these two from the others.
        "total_mass": values["pole_mass"] + environment.masscart,
        "polemass_length": values["pole_mass"] * values["pole_length"],
    }
    vars(environment).update(attributes)
    return environment


def _per_episode(scenarios: list[Scenario], name: str, nominal: float, each: int) -> np.ndarray:
    return np.repeat([s.parameters.get(name, nominal) for s in scenarios], each)


def _starts(suite: Episodes) -> tuple[np.ndarray, np.random.Generator]:
    """Start states [4, seeds * episodes], shared by all scenarios, and the noise's generator."""
    starts = [
        np.random.default_rng(seed).uniform(-START, START, (4, suite.episodes))
        for seed in suite.seeds
    ]
    return np.concatenate(starts, axis=1), np.random.default_rng(suite.seeds)
