"""What operations take and answer: declared.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict


class RangeFields(TypedDict, total=False):
    """Values of one hyperparameter that trials choose from: exactly one of `uniform`,
    `log_uniform`, `integer` and `log_integer`, each as `[low, high]`, or `choice`."""

    uniform: Sequence[float] | None
    """Real numbers, each as likely as another."""
    log_uniform: Sequence[float] | None
    """Real numbers above 0, each order of magnitude as likely as another."""
    integer: Sequence[int] | None
    """Whole numbers."""
    log_integer: Sequence[int] | None
    """Whole numbers above 0, each order of magnitude as likely as another."""
    choice: Sequence[Any] | None
    """Any values."""
    step: float | None
    """Distance between the values of `uniform` or `integer`, from `low` on."""


class SearchBudgetFields(TypedDict, total=False):
    """What a search may use besides its number of trials; used up, it ends with the best so
    far."""

    time_s: float | None
    """Time that it works, without its time in queues."""
    gpu_h: float | None
    """GPU-hours of all trials together."""


class SearchFields(TypedDict, total=False):
    """Trials with values from ranges; the best one's model is the job's. Needs over, metric."""

    over: Mapping[str, RangeFields]
    """Range by hyperparameter. A value that the model declares too is that of the first trial."""
    metric: str
    """What the trainer reports and trials are compared by: its last value, which belongs to the
    trial's model."""
    goal: Literal["min", "max"] | None
    """Whether the smallest or the largest value is best; needed where the metric's name does not
    say it."""
    trials: int
    at_once: int
    """Trials side by side, each with the model's `resources`: the job asks for so many times
    those."""
    budget: SearchBudgetFields
    stop_early: bool
    """Whether a trial ends that is worse than two thirds of those that got as far (ASHA, Li et
    al. 2020)."""


class RolloutFields(TypedDict, total=False):
    """How a new version takes over traffic."""

    canary: Sequence[int]
    """Percent of traffic at each step, ending with 100."""
    step_s: float
    """Time each step must stay healthy before the next."""


class ScaleFields(TypedDict, total=False):
    """How many processes answer."""

    min: int
    """Processes the embedded runtime keeps; the lower end of a cluster's autoscaler."""
    max: int
    """Upper end of a cluster's autoscaler."""


class CriterionFields(TypedDict, total=False):
    """A bound that a measured metric must clear, with statistical confidence."""

    at_least: float | None
    at_most: float | None
    of: Literal["worst", "mean"]
    """`worst`: every gated scenario must clear the bound; `mean`: their average must."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How a new version takes over traffic."""

    canary: list[int] = field(default_factory=list)
    """Percent of traffic at each step, ending with 100."""
    step_s: float = 5
    """Time each step must stay healthy before the next."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How many processes answer."""

    min: int = 1
    """Processes the embedded runtime keeps; the lower end of a cluster's autoscaler."""
    max: int = 1
    """Upper end of a cluster's autoscaler."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A bound that a measured metric must clear, with statistical confidence."""

    at_least: float | None = None
    at_most: float | None = None
    of: Literal["worst", "mean"] = "worst"
    """`worst`: every gated scenario must clear the bound; `mean`: their average must."""
