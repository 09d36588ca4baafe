"""What operations take and answer: declared.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict


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
