"""Control policies by proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), of
discrete and of continuous actions.

Shapes: T steps, E environments, O observation, N = T * E samples.
"""

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

import gymnasium
import numpy as np
import ray.train
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from pydantic import BaseModel, Field, model_validator
from ray.train import Checkpoint
from torch import nn
from torch.nn import functional

from engine.environments import find_environment
from training.policies import Policy, policy_for

CHECKPOINT_EVERY_S = 1.0
"""Work that a crash may cost, besides the iteration under way."""


class Experience(NamedTuple):
    """Samples of one iteration, flattened over time and environments."""

    observation_NO: torch.Tensor
    action_N: torch.Tensor
    """[N], or [N, A] for A continuous actions."""
    log_probability_N: torch.Tensor
    advantage_N: torch.Tensor
    return_N: torch.Tensor
    episode_returns: list[float]


class Hyperparameters(BaseModel):
    """What may be declared for `train`."""

    environment: str
    """Id of a Gymnasium environment, or `module:make` of a function or class that makes one; with a
    box of observations, and discrete or continuous actions."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of the environment."""
    iterations: int = Field(ge=1)
    """Updates of the policy, each after samples of its own."""
    environments: int = Field(default=8, ge=1)
    """Copies of the environment that are stepped together."""
    steps_per_iteration: int = Field(default=500, ge=1)
    """Steps of each copy in an iteration."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of Adam."""
    discount: float = Field(default=0.99, ge=0, le=1)
    """Worth of a reward one step later."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Weight of later errors in an advantage (Schulman et al. 2016, arXiv:1506.02438)."""
    clip: float = Field(default=0.2, gt=0)
    """Largest change of an action's probability that is rewarded, as a share."""
    passes: int = Field(default=10, ge=1)
    """Times that the samples of an iteration are learned from."""
    minibatches: int = Field(default=16, ge=1)
    """Parts that the samples are divided into, each with a step of the optimiser."""
    entropy_weight: float = Field(default=0.01, ge=0)
    """Worth of actions that are not alike, in the loss."""
    sensor_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise added to what the policy sees while it learns."""
    normalise_observations: bool = False
    """Whether observations are brought to mean 0 and standard deviation 1, by what was seen so
    far; it is a part of the exported program, which takes them as the environment gives them."""
    reward_scale: float = Field(default=1.0, gt=0)
    """Factor of the rewards that the losses see; the reported return is the environment's own."""
    bootstrap_truncated: bool = False
    """Whether the value of what is seen last counts where only a time limit ended the episode."""

    @model_validator(mode="after")
    def _has_samples(self) -> Self:
        samples = self.steps_per_iteration * self.environments
        if samples < 2 * self.minibatches:
            raise ValueError(
                f"got {samples} samples in an iteration (steps_per_iteration x environments) for "
                f"{self.minibatches} minibatches, expected at least 2 samples in each: the "
                "advantages of a minibatch are divided by their standard deviation"
            )
        return self


def train(config: dict[str, Any]) -> None:
    """Learn a policy; reports the mean episode return and the losses every iteration.

    Hyperparameters: the fields of `Hyperparameters`.
    """
    settings = Hyperparameters.model_validate(config)
    environment = _environment(settings)
    policy = policy_for(
        settings.environment,
        environment.single_observation_space,
        environment.single_action_space,
        normalises=settings.normalise_observations,
    )
    value = nn.Sequential(
        nn.Linear(policy.observations, 64),
        nn.Tanh(),
        nn.Linear(64, 64),
        nn.Tanh(),
        nn.Linear(64, 1),
    )
    parameters = [*policy.parameters(), *value.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, eps=1e-5)
    first = _restore(policy, value, optimizer)
    recent: list[float] = []
    saved_at = time.monotonic()
    for iteration in range(first, settings.iterations + 1):
        # Different for every pair of seed and iteration below a million.
        seed = config["seed"] * 1_000_003 + iteration
        generator = torch.Generator().manual_seed(seed)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * (
            1 - (iteration - 1) / settings.iterations
        )
        experience = _collect(environment, policy, value, settings, generator, seed)
        losses = _improve(policy, value, optimizer, experience, settings, generator)
        # After the losses, whose ratios compare the policy with the one that acted.
        policy.see(experience.observation_NO)
        recent = (recent + experience.episode_returns)[-100:]
        metrics = {"iteration": iteration, "return": float(np.mean(recent or [0.0])), **losses}
        is_last = iteration == settings.iterations
        if is_last or time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            _report(policy, value, optimizer, metrics, is_last)
            saved_at = time.monotonic()
        else:
            ray.train.report(metrics)
    environment.close()


def _environment(settings: Hyperparameters) -> VectorEnv:
    """Environments side by side. Raises engine.protocol.Refused where they cannot be made."""
    maker = find_environment(settings.environment)

    def make() -> gymnasium.Env:
        return maker.make(settings.arguments)

    return SyncVectorEnv(
        [make] * settings.environments,
        # With the default, NEXT_STEP, the step after an end is a reset and no experience.
        autoreset_mode=AutoresetMode.SAME_STEP,
    )


def _collect(
    environment: VectorEnv,
    policy: Policy,
    value: nn.Module,
    settings: Hyperparameters,
    generator: torch.Generator,
    seed: int,
) -> Experience:
    steps, count = settings.steps_per_iteration, settings.environments
    # Every iteration starts from a seeded reset, so that a resumed job repeats it exactly.
    observed = _rows(environment.reset(seed=seed)[0])
    seen, actions, log_probabilities, values, rewards, ends = [], [], [], [], [], []
    returns, running, has_ended = [], np.zeros(count), np.zeros(count, bool)
    with torch.no_grad():
        for step in range(steps):
            _require_numbers(observed, settings.environment, step)
            noise = settings.sensor_noise * torch.randn(observed.shape, generator=generator)
            shown = observed + noise
            distribution = policy.distribution(shown)
            action = policy.drawn(distribution, generator)
            nxt, reward, terminated, truncated, told = environment.step(
                policy.for_environment(action)
            )
            _require_rewards(reward, settings.environment, step)
            seen.append(shown)
            actions.append(action)
            log_probabilities.append(distribution.log_prob(action))
            values.append(value(policy.prepared(shown)).squeeze(1))
            gained = settings.reward_scale * torch.as_tensor(reward, dtype=torch.float32)
            cut = truncated & ~terminated
            if settings.bootstrap_truncated and cut.any():
                last = _rows(np.stack(told["final_obs"][cut]))
                gained[cut] += settings.discount * value(policy.prepared(last)).squeeze(1)
            rewards.append(gained)
            done = terminated | truncated
            ends.append(torch.as_tensor(done, dtype=torch.float32))
            running += reward
            returns += running[done].tolist()
            running[done] = 0
            has_ended |= done
            observed = _rows(nxt)
        last_value = value(policy.prepared(observed)).squeeze(1)
    value_TE, end_TE = torch.stack(values), torch.stack(ends)
    advantage_TE = _advantages(torch.stack(rewards), value_TE, end_TE, last_value, settings)
    # An episode that fills the whole iteration counts as far as it has come.
    returns += running[~has_ended].tolist()
    return Experience(
        torch.stack(seen).flatten(0, 1),
        torch.stack(actions).flatten(0, 1),
        torch.stack(log_probabilities).flatten(),
        advantage_TE.flatten(),
        (advantage_TE + value_TE).flatten(),
        returns,
    )


def _rows(observed: np.ndarray) -> torch.Tensor:
    """Observations float32 [E, O], whatever their shape."""
    return torch.as_tensor(observed, dtype=torch.float32).flatten(1)


def _require_rewards(reward: np.ndarray, name: str, step: int) -> None:
    if not np.isfinite(reward).all():
        raise ValueError(
            f"{name} gave the reward {reward[~np.isfinite(reward)][0]:g} at step {step} of an "
            "iteration, expected finite numbers: mend the environment"
        )


def _require_numbers(observed: torch.Tensor, name: str, step: int) -> None:
    if not torch.isfinite(observed).all():
        raise ValueError(
            f"{name} was observed as {observed[~torch.isfinite(observed)][0]:g} at step {step} of "
            "an iteration, expected finite numbers: mend the environment"
        )


def _advantages(
    reward_TE: torch.Tensor,
    value_TE: torch.Tensor,
    end_TE: torch.Tensor,
    last_value_E: torch.Tensor,
    settings: Hyperparameters,
) -> torch.Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv:1506.02438)."""
    advantage_TE = torch.zeros_like(reward_TE)
    following, next_value = torch.zeros_like(last_value_E), last_value_E
    for step in reversed(range(len(reward_TE))):
        alive = 1 - end_TE[step]
        delta = reward_TE[step] + settings.discount * next_value * alive - value_TE[step]
        following = delta + settings.discount * settings.gae_lambda * alive * following
        advantage_TE[step], next_value = following, value_TE[step]
    return advantage_TE


def _improve(
    policy: Policy,
    value: nn.Module,
    optimizer: torch.optim.Optimizer,
    experience: Experience,
    settings: Hyperparameters,
    generator: torch.Generator,
) -> dict[str, float]:
    samples = len(experience.action_N)
    losses: list[tuple[float, float, float]] = []
    for _ in range(settings.passes):
        order = torch.randperm(samples, generator=generator)
        # `split` could leave one sample for the last minibatch, whose standard deviation is NaN.
        for batch in order.tensor_split(settings.minibatches):
            losses.append(_step(policy, value, optimizer, experience, batch, settings))
    policy_loss, value_loss, entropy = np.mean(losses, axis=0)
    return {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}


def _step(
    policy: Policy,
    value: nn.Module,
    optimizer: torch.optim.Optimizer,
    experience: Experience,
    batch: torch.Tensor,
    settings: Hyperparameters,
) -> tuple[float, float, float]:
    observation = experience.observation_NO[batch]
    distribution = policy.distribution(observation)
    advantage = experience.advantage_N[batch]
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    log_probability = distribution.log_prob(experience.action_N[batch])
    ratio = (log_probability - experience.log_probability_N[batch]).exp()
    clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
    policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
    value_loss = functional.mse_loss(
        value(policy.prepared(observation)).squeeze(1), experience.return_N[batch]
    )
    entropy = distribution.entropy().mean()
    optimizer.zero_grad(set_to_none=True)
    (policy_loss + 0.5 * value_loss - settings.entropy_weight * entropy).backward()
    parameters = optimizer.param_groups[0]["params"]
    nn.utils.clip_grad_norm_(parameters, 0.5)
    optimizer.step()
    return policy_loss.item(), value_loss.item(), entropy.item()


def _report(
    policy: Policy,
    value: nn.Module,
    optimizer: torch.optim.Optimizer,
    metrics: dict[str, float],
    is_last: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = {
            "policy": policy.state_dict(),
            "value": value.state_dict(),
            "optimizer": optimizer.state_dict(),
            "iteration": metrics["iteration"],
        }
        torch.save(state, Path(folder, "state.pt"))
        if is_last:
            policy.save(Path(folder))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def _restore(policy: Policy, value: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 1
    with checkpoint.as_directory() as folder:
        # `weights_only`, because loading a checkpoint must not run code from a pickle.
        state = torch.load(Path(folder, "state.pt"), weights_only=True)
    policy.load_state_dict(state["policy"])
    value.load_state_dict(state["value"])
    optimizer.load_state_dict(state["optimizer"])
    return state["iteration"] + 1
