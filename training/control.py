"""Control policies by proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

Shapes: T steps, E environments, O observation, A actions, N = T * E samples.
"""

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

import gymnasium
import numpy as np
import ray.train
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from pydantic import BaseModel, Field, model_validator
from ray.train import Checkpoint
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional

CHECKPOINT_EVERY_S = 1.0
"""Work that a crash may cost, besides the iteration under way."""


class Policy(nn.Module):
    """Action logits [B, A] from observations [B, O]."""

    def __init__(self, observation: int, actions: int, width: int = 64) -> None:
        super().__init__()
        self.observations = observation
        self.layers = nn.Sequential(
            nn.Linear(observation, width),
            nn.Tanh(),
            nn.Linear(width, width),
            nn.Tanh(),
            nn.Linear(width, actions),
        )

    def forward(self, observation_BO: torch.Tensor) -> torch.Tensor:
        """Logits of the actions."""
        return self.layers(observation_BO)


class Experience(NamedTuple):
    """Samples of one iteration, flattened over time and environments."""

    observation_NO: torch.Tensor
    action_N: torch.Tensor
    log_probability_N: torch.Tensor
    advantage_N: torch.Tensor
    return_N: torch.Tensor
    episode_returns: list[float]


class Hyperparameters(BaseModel):
    """What may be declared for `train`."""

    environment: str
    """Name of a Gymnasium environment with a box of observations and discrete actions."""
    iterations: int = Field(ge=1)
    environments: int = Field(default=8, ge=1)
    steps_per_iteration: int = Field(default=500, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    discount: float = Field(default=0.99, ge=0, le=1)
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    passes: int = Field(default=10, ge=1)
    minibatches: int = Field(default=16, ge=1)
    entropy_weight: float = Field(default=0.01, ge=0)
    sensor_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise added to what the policy sees while it learns."""

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
    environment = gymnasium.make_vec(
        settings.environment,
        num_envs=settings.environments,
        # With the default, NEXT_STEP, the step after an end is a reset and no experience.
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        vectorization_mode="sync",
    )
    observations, actions = _sizes(environment, settings.environment)
    policy = Policy(observations, actions)
    value = nn.Sequential(
        nn.Linear(observations, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)
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
        recent = (recent + experience.episode_returns)[-100:]
        metrics = {"iteration": iteration, "return": float(np.mean(recent or [0.0])), **losses}
        is_last = iteration == settings.iterations
        if is_last or time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            _report(policy, value, optimizer, metrics, is_last)
            saved_at = time.monotonic()
        else:
            ray.train.report(metrics)
    environment.close()


def _sizes(environment: VectorEnv, name: str) -> tuple[int, int]:
    """Numbers of what is observed, and of actions. Raises ValueError for other spaces."""
    seen, acts = environment.single_observation_space, environment.single_action_space
    if not isinstance(seen, gymnasium.spaces.Box) or not np.issubdtype(seen.dtype, np.number):
        raise ValueError(f"{name} is observed as {seen}, expected a Box of numbers")
    if not isinstance(acts, gymnasium.spaces.Discrete) or acts.start != 0:
        raise ValueError(
            f"{name} is acted on by {acts}, expected Discrete actions that begin at 0: this "
            "trainer learns which of several actions to take; train it with a trainer of your own"
        )
    return int(np.prod(seen.shape)), int(acts.n)


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
    observed, _ = environment.reset(seed=seed)
    observed = torch.as_tensor(observed, dtype=torch.float32)
    seen, actions, log_probabilities, values, rewards, ends = [], [], [], [], [], []
    returns, running = [], np.zeros(count)
    with torch.no_grad():
        for step in range(steps):
            _require_numbers(observed, settings.environment, step)
            noise = settings.sensor_noise * torch.randn(observed.shape, generator=generator)
            shown = observed + noise
            logits = policy(shown)
            action = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
            nxt, reward, terminated, truncated, _ = environment.step(action.numpy())
            seen.append(shown)
            actions.append(action)
            log_probabilities.append(Categorical(logits=logits).log_prob(action))
            values.append(value(shown).squeeze(1))
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            done = terminated | truncated
            ends.append(torch.as_tensor(done, dtype=torch.float32))
            running += reward
            returns += running[done].tolist()
            running[done] = 0
            observed = torch.as_tensor(nxt, dtype=torch.float32)
        last_value = value(observed).squeeze(1)
    value_TE, end_TE = torch.stack(values), torch.stack(ends)
    advantage_TE = _advantages(torch.stack(rewards), value_TE, end_TE, last_value, settings)
    # Episodes still running at the end count as long as they have lasted.
    returns += running[running >= steps].tolist()
    return Experience(
        torch.stack(seen).flatten(0, 1),
        torch.stack(actions).flatten(),
        torch.stack(log_probabilities).flatten(),
        advantage_TE.flatten(),
        (advantage_TE + value_TE).flatten(),
        returns,
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
    distribution = Categorical(logits=policy(observation))
    advantage = experience.advantage_N[batch]
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    log_probability = distribution.log_prob(experience.action_N[batch])
    ratio = (log_probability - experience.log_probability_N[batch]).exp()
    clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
    policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
    value_loss = functional.mse_loss(value(observation).squeeze(1), experience.return_N[batch])
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
            # Two rows, because torch.export treats a dimension of size 1 as a constant.
            example = (torch.zeros(2, policy.observations),)
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.export.export(policy.eval(), example, dynamic_shapes=shapes)
            torch.export.save(program, Path(folder, "model.pt2"))
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
