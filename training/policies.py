"""Policies of the control trainer: of discrete actions, and of continuous ones.

Shapes: B rows, O numbers observed, A actions.
"""

import json
from pathlib import Path

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, Distribution, Independent, Normal

FARTHEST = 10.0
"""Standard deviations from the mean at which a normalised observation is cut."""
SMALLEST_STD = 1e-4


class Normaliser(nn.Module):
    """Observations [B, O] brought to mean 0 and standard deviation 1, by what was seen so far."""

    def __init__(self, observations: int) -> None:
        super().__init__()
        self.count: torch.Tensor
        self.mean: torch.Tensor
        self.variance: torch.Tensor
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(observations))
        self.register_buffer("variance", torch.ones(observations))

    def forward(self, observation_BO: torch.Tensor) -> torch.Tensor:
        """Normalised observations [B, O]."""
        std = self.variance.sqrt().clamp(min=SMALLEST_STD)
        return ((observation_BO - self.mean) / std).clamp(-FARTHEST, FARTHEST)

    @torch.no_grad()
    def see(self, observation_NO: torch.Tensor) -> None:
        """Take more observations into account (Chan et al. 1979, parallel variance)."""
        more = len(observation_NO)
        total = self.count + more
        mean, variance = observation_NO.mean(0), observation_NO.var(0, correction=0)
        away = mean - self.mean
        squares = self.variance * self.count + variance * more
        squares += away**2 * self.count * more / total
        self.mean += away * more / total
        self.variance.copy_(squares / total)
        self.count.copy_(total)


class Policy(nn.Module):
    """Scores of discrete actions [B, A] from observations [B, O]."""

    def __init__(
        self, observation: int, actions: int, width: int = 64, *, normalises: bool = False
    ) -> None:
        super().__init__()
        self.observations = observation
        self.normaliser = Normaliser(observation) if normalises else None
        self.layers = nn.Sequential(
            nn.Linear(observation, width),
            nn.Tanh(),
            nn.Linear(width, width),
            nn.Tanh(),
            nn.Linear(width, actions),
        )

    def forward(self, observation_BO: torch.Tensor) -> torch.Tensor:
        """Logits of the actions."""
        return self.layers(self.prepared(observation_BO))

    def prepared(self, observation_BO: torch.Tensor) -> torch.Tensor:
        """What the layers take: the observations, normalised where that is declared."""
        return self.normaliser(observation_BO) if self.normaliser else observation_BO

    def see(self, observation_NO: torch.Tensor) -> None:
        """Take observations into account for the normalisation."""
        if self.normaliser:
            self.normaliser.see(observation_NO)

    def distribution(self, observation_BO: torch.Tensor) -> Distribution:
        """Distribution of the actions, as the trainer counts them."""
        return Categorical(logits=self(observation_BO))

    def drawn(self, distribution: Distribution, generator: torch.Generator) -> torch.Tensor:
        """Actions drawn from the distribution, int64 [B]."""
        assert isinstance(distribution, Categorical)
        shares = distribution.logits.softmax(-1)
        return torch.multinomial(shares, 1, generator=generator).squeeze(1)

    def for_environment(self, action: torch.Tensor) -> np.ndarray:
        """The drawn actions as the environment takes them."""
        return action.numpy()

    def save(self, folder: Path) -> None:
        """Write the program, and what must be said beside it."""
        # Two rows, because torch.export treats a dimension of size 1 as a constant.
        example = (torch.zeros(2, self.observations),)
        shapes = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(self.eval(), example, dynamic_shapes=shapes)
        torch.export.save(program, folder / "model.pt2")


class ContinuousPolicy(Policy):
    """A Gaussian policy: its mean in the environment's own units [B, A] from observations [B, O].

    The layers give the mean in units of half the range of each action, from its middle; an
    action without bounds is in its own units.
    """

    def __init__(
        self, observation: int, space: gymnasium.spaces.Box, *, normalises: bool = False
    ) -> None:
        actions = int(np.prod(space.shape))
        super().__init__(observation, actions, normalises=normalises)
        self.space = space
        low = torch.as_tensor(space.low, dtype=torch.float32).flatten()
        high = torch.as_tensor(space.high, dtype=torch.float32).flatten()
        is_bounded = low.isfinite() & high.isfinite()
        self.low: torch.Tensor
        self.high: torch.Tensor
        self.centre: torch.Tensor
        self.reach: torch.Tensor
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.register_buffer("centre", torch.where(is_bounded, (low + high) / 2, 0.0))
        self.register_buffer("reach", torch.where(is_bounded, (high - low) / 2, 1.0))
        self.log_std = nn.Parameter(torch.zeros(actions))

    def forward(self, observation_BO: torch.Tensor) -> torch.Tensor:
        """Mean actions within the bounds, in the environment's units."""
        return self._scaled(super().forward(observation_BO))

    def distribution(self, observation_BO: torch.Tensor) -> Distribution:
        """Distribution of the actions in units of half their range."""
        mean = super().forward(observation_BO)
        return Independent(Normal(mean, self.log_std.exp().expand_as(mean)), 1)

    def drawn(self, distribution: Distribution, generator: torch.Generator) -> torch.Tensor:
        """Actions drawn from the distribution, float32 [B, A]."""
        drawn = torch.randn(distribution.mean.shape, generator=generator)
        return distribution.mean + distribution.stddev * drawn

    def for_environment(self, action: torch.Tensor) -> np.ndarray:
        """The drawn actions within the bounds and in the shape of the action space."""
        shaped = self._scaled(action).numpy().reshape(len(action), *self.space.shape)
        return shaped.astype(self.space.dtype)

    def save(self, folder: Path) -> None:
        """Write the program, and that its outputs are values and no scores."""
        super().save(folder)
        (folder / "model.json").write_text(json.dumps({"actions": "values"}))

    def _scaled(self, action_BA: torch.Tensor) -> torch.Tensor:
        scaled = self.centre + self.reach * action_BA
        return torch.minimum(torch.maximum(scaled, self.low), self.high)


def policy_for(
    name: str, seen: gymnasium.Space, acts: gymnasium.Space, *, normalises: bool
) -> Policy:
    """A new policy for the spaces of an environment. Raises ValueError for spaces of other kinds
    than a Box that is observed, and Discrete or Box actions."""
    if not isinstance(seen, gymnasium.spaces.Box) or not np.issubdtype(seen.dtype, np.number):
        raise ValueError(
            f"{name} is observed as {seen}, expected a Box of numbers: wrap it in "
            "gymnasium.wrappers.FlattenObservation in a function of your own, and declare that "
            "as environment: module:function"
        )
    observations = int(np.prod(seen.shape))
    if isinstance(acts, gymnasium.spaces.Box) and np.issubdtype(acts.dtype, np.floating):
        return ContinuousPolicy(observations, acts, normalises=normalises)
    if not isinstance(acts, gymnasium.spaces.Discrete) or acts.start != 0:
        raise ValueError(
            f"{name} is acted on by {acts}, expected Discrete actions that begin at 0, or a Box "
            "of real numbers: change the actions by a wrapper in a function of your own, or train "
            "it with a trainer of your own"
        )
    return Policy(observations, int(acts.n), normalises=normalises)
