"""The declaration of a suite: the scenarios a model version is tried in."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from projects.declared import Declared

Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Severity = Annotated[float, Field(gt=0, le=1)]
CorruptionName = Literal["noise", "blur", "shift", "occlusion", "contrast"]
Physics = Literal["gravity", "pole_length", "pole_mass", "push_force", "sensor_noise"]


class ImageShape(Declared):
    """How a row of features becomes an image."""

    height: int = Field(ge=1)
    width: int = Field(ge=1)
    low: float
    """Value of black."""
    high: float
    """Value of white."""


class Corruptions(Declared):
    """Held-out images seen through graded corruptions; metric: accuracy."""

    kind: Literal["corruptions"]
    image: ImageShape
    corruptions: dict[CorruptionName, list[Severity]]
    """Severities from 0 (clean) to 1 (the strongest that is defined), per corruption."""
    gated_up_to: Severity = 1.0
    """Severities above it are measured and drawn, but not gated."""
    seeds: Seeds = [0]
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class LinfAttack(Declared):
    """Projected gradient descent on held-out rows within an L-infinity ball; metric:
    robust_accuracy."""

    kind: Literal["linf_attack"]
    low: float
    """Smallest legal feature value."""
    high: float
    """Largest legal feature value."""
    epsilons: list[Severity]
    """Radii of the ball, as shares of the legal range."""
    gated_up_to: Severity = 1.0
    """Radii above it are measured and drawn, but not gated."""
    steps: int = Field(default=20, ge=1, le=1_000)
    restarts: int = Field(default=3, ge=1, le=100)
    seeds: Seeds = [0]
    rows: int = Field(default=512, ge=1)
    """Held-out rows attacked, at most."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class Episodes(Declared):
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
    seeds: Seeds = [0]
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


Suite = Annotated[Corruptions | LinfAttack | Episodes, Field(discriminator="kind")]
SUITES: dict[str, type[Corruptions | LinfAttack | Episodes]] = {
    "corruptions": Corruptions,
    "linf_attack": LinfAttack,
    "episodes": Episodes,
}
"""Class of the declaration, by kind."""
SUITE: TypeAdapter[Suite] = TypeAdapter(Suite)
METRICS: dict[str, tuple[str, ...]] = {
    "corruptions": ("accuracy",),
    "linf_attack": ("robust_accuracy",),
    "episodes": ("survival", "return"),
}
