"""Gymnasium's CartPole-v1 with thousands of episodes in one vectorised environment.

Its attributes take one value per environment. Shapes: N environments = scenarios * seeds *
episodes.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from simulations.outcomes import Scenario
from simulations.trials import Measurer

if TYPE_CHECKING:
    from simulations.kinds.episodes import Episodes
    from simulations.subject import Subject

ENVIRONMENT = "CartPole-v1"
HORIZON = 500
"""Steps after which Gymnasium cuts an episode."""
NOMINAL = {
    "gravity": 9.8,
    "pole_length": 0.5,
    "pole_mass": 0.1,
    "push_force": 10.0,
}
"""Metres per second squared; half-length in metres; kilograms; newtons."""
VARIED = {*NOMINAL, "sensor_noise"}
"""All that may be varied here."""
EPISODES_AT_ONCE = 8_192
START = 0.05
"""Episodes start uniformly within this distance of rest, as in CartPole-v1."""


def takes(suite: "Episodes", subject: "Subject") -> bool:
    """Whether the suite can be run here, with a policy that fits."""
    signature = subject.signature
    fits = (signature.inputs[0].shape, signature.output.shape, signature.actions)
    return (
        suite.environment == ENVIRONMENT
        and not suite.arguments
        and not suite.derive
        and suite.vary.keys() <= VARIED
        and fits == ([4], [2], "scores")
    )


def groups_of(suite: "Episodes", scenarios: list[Scenario]) -> list[list[Scenario]]:
    """Scenarios that are run together: enough episodes to make a step cheap, and few enough
    to lose little work with one of them."""
    at_once = max(1, EPISODES_AT_ONCE // (len(suite.seeds) * suite.episodes))
    return [scenarios[first : first + at_once] for first in range(0, len(scenarios), at_once)]


def measure(
    suite: "Episodes",
    scenarios: list[Scenario],
    subject: "Subject",
    trials: Callable[[int], AbstractContextManager[Measurer]],
) -> np.ndarray:
    """What is kept of all episodes (simulations.playing.Played), float64 [N, 4]."""
    groups = groups_of(suite, scenarios)
    with trials(len(groups)) as measurer:
        parts = [
            measurer.measure(
                f"{group[0].name} to {group[-1].name}",
                lambda group=group: play(suite, group, subject, measurer.still_at),
            )
            for group in groups
        ]
    lasted = np.concatenate(parts).astype(np.float64)
    # The reward of every step is 1.
    terminated = (lasted < (suite.horizon or HORIZON)).astype(np.float64)
    return np.stack([lasted, lasted, terminated, np.full_like(lasted, np.nan)], axis=1)


def play(
    suite: "Episodes",
    scenarios: list[Scenario],
    subject: "Subject",
    still_at: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """Steps that each episode lasted, int64 [N], at most the horizon."""
    each = len(suite.seeds) * suite.episodes
    horizon = suite.horizon or HORIZON
    environment = _environment(scenarios, each, horizon)
    noise_N1 = _per_episode(scenarios, "sensor_noise", 0.0, each)[:, None]
    start_4E, generator = _starts(suite)
    # Needed before the first step; the suite's start states then replace the ones it draws.
    observed, _ = environment.reset(seed=suite.seeds[0])
    environment.state = np.tile(start_4E, len(scenarios))
    observed = environment.state.T.astype(np.float32)
    lasted = np.zeros(environment.num_envs, np.int64)
    alive = np.ones(environment.num_envs, bool)
    is_noisy = bool(noise_N1.any())
    for step in range(horizon):
        if is_noisy:
            drawn = generator.standard_normal(observed.shape, np.float32)
            observed = observed + noise_N1.astype(np.float32) * drawn
        observed, _, terminated, _, _ = environment.step(subject.choices(observed))
        # The step in which the pole falls counts, as in Gymnasium's own reward.
        lasted += alive
        alive &= ~terminated
        if not alive.any():
            break
        still_at(f"step {step + 1} of {horizon}, {int(alive.sum())} episodes go on")
    return lasted


def _environment(scenarios: list[Scenario], each: int, horizon: int) -> CartPoleVectorEnv:
    # One step more than is played, so that the environment never truncates an episode.
    environment = CartPoleVectorEnv(len(scenarios) * each, max_episode_steps=horizon + 1)
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


def _starts(suite: "Episodes") -> tuple[np.ndarray, np.random.Generator]:
    """Start states [4, seeds * episodes], shared by all scenarios, and the noise's generator."""
    starts = [
        np.random.default_rng(seed).uniform(-START, START, (4, suite.episodes))
        for seed in suite.seeds
    ]
    return np.concatenate(starts, axis=1), np.random.default_rng(suite.seeds)
