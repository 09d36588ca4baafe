"""Image corruptions of graded severity, after ImageNet-C (Hendrycks & Dietterich 2019,
arXiv:1903.12261), with strengths defined relative to the image's range and size.

Shapes: B images, H rows, W columns.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from engine.protocol import Refused
from projects.declared import Declared
from projects.schema import Dataset, Model
from projects.suite import Severity, needs_rows
from simulations.kind import SuiteKind, SuiteRun
from simulations.outcomes import Outcomes, Scenario
from simulations.trials import UNRECORDED, Measurer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement
    from simulations.held_out import LabelledMatrix
    from simulations.subject import Subject

CorruptionName = Literal["noise", "blur", "shift", "occlusion", "contrast"]

NOISE = 0.5
"""Standard deviation of the noise at severity 1, as a share of the range."""
BLUR = 0.15
"""Standard deviation of the blur at severity 1, as a share of the height."""
SHIFT = 0.25
"""Displacement at severity 1, as a share of the size."""
OCCLUSION = 0.5
"""Side of the hidden square at severity 1, as a share of the size."""
CONTRAST = 0.9
"""Contrast lost at severity 1."""


class ImageShape(Declared):
    """How a row of features becomes an image."""

    height: int = Field(ge=1)
    """Pixels."""
    width: int = Field(ge=1)
    """Pixels."""
    low: float
    """Value of black."""
    high: float
    """Value of white."""


class Corruptions(SuiteKind):
    """Held-out images seen through graded corruptions; metric: accuracy."""

    kind: Literal["corruptions"]
    image: ImageShape
    """How a row of features becomes an image."""
    corruptions: dict[CorruptionName, list[Severity]]
    """Severities from 0 (clean) to 1 (the strongest that is defined), per corruption."""
    gated_up_to: Severity = 1.0
    """Severities above it are measured and drawn, but not gated."""

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures."""
        return ("accuracy",)

    def misfit(self, model: Model, dataset: Dataset | None) -> str:
        """Why the suite cannot try the model; empty where it can."""
        return needs_rows(self, dataset)

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """Whether every held-out image is named rightly, clean and under every corruption."""
        with run.trials(trials_in(self)) as trials:
            return measure(self, run.subject, run.held_out.matrices, trials)

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Accuracy against severity, a line for each corruption."""
        from simulations.pictures import curves

        lines = {
            name: {0.0: "clean", **{s: f"{name} {s:g}" for s in severities}}
            for name, severities in self.corruptions.items()
        }
        figure = curves(measurements, "accuracy", lines, "severity", self.gated_up_to)
        return {"accuracy_against_severity": figure}


def corrupt(
    images_BHW: np.ndarray, name: str, severity: float, shape: ImageShape, seed: int
) -> np.ndarray:
    """The images, corrupted and clipped to the legal range; the same seed gives the same."""
    return _corrupted(images_BHW, name, severity, shape, _generator(seed, severity))


def _generator(seed: int, severity: float) -> Generator:
    return np.random.default_rng([seed, int(severity * 1000)])


def _corrupted(
    images_BHW: np.ndarray, name: str, severity: float, shape: ImageShape, generator: Generator
) -> np.ndarray:
    corrupted = _CORRUPTIONS[name](images_BHW, severity, shape, generator)
    return np.clip(corrupted, shape.low, shape.high).astype(np.float32)


def _noise(
    images_BHW: np.ndarray, severity: float, shape: ImageShape, generator: Generator
) -> np.ndarray:
    scale = NOISE * severity * (shape.high - shape.low)
    return images_BHW + generator.normal(0, scale, images_BHW.shape)


def _blur(images_BHW: np.ndarray, severity: float, shape: ImageShape, _: Generator) -> np.ndarray:
    from scipy import ndimage

    sigma = BLUR * severity * shape.height
    return ndimage.gaussian_filter(images_BHW, (0, sigma, sigma), mode="constant", cval=shape.low)


def _shift(
    images_BHW: np.ndarray, severity: float, shape: ImageShape, generator: Generator
) -> np.ndarray:
    from scipy import ndimage

    angles = generator.uniform(0, 2 * np.pi, len(images_BHW))
    shifted = np.empty_like(images_BHW)
    for index, angle in enumerate(angles):
        by = (
            SHIFT * severity * np.array([shape.height * np.sin(angle), shape.width * np.cos(angle)])
        )
        # Unlike `constant`, `grid-constant` also interpolates between edge pixels and background.
        shifted[index] = ndimage.shift(
            images_BHW[index], by, order=1, mode="grid-constant", cval=shape.low
        )
    return shifted


def _occlusion(
    images_BHW: np.ndarray, severity: float, shape: ImageShape, generator: Generator
) -> np.ndarray:
    height = max(1, round(OCCLUSION * severity * shape.height))
    width = max(1, round(OCCLUSION * severity * shape.width))
    hidden = images_BHW.copy()
    tops = generator.integers(0, shape.height - height + 1, len(images_BHW))
    lefts = generator.integers(0, shape.width - width + 1, len(images_BHW))
    for image, top, left in zip(hidden, tops, lefts, strict=True):
        image[top : top + height, left : left + width] = shape.low
    return hidden


def _contrast(
    images_BHW: np.ndarray, severity: float, shape: ImageShape, _: Generator
) -> np.ndarray:
    grey = (shape.low + shape.high) / 2
    return grey + (images_BHW - grey) * (1 - CONTRAST * severity)


_CORRUPTIONS = {
    "noise": _noise,
    "blur": _blur,
    "shift": _shift,
    "occlusion": _occlusion,
    "contrast": _contrast,
}


def trials_in(suite: Corruptions) -> int:
    """Number of trials that `measure` measures."""
    return len(suite.seeds) * (1 + sum(map(len, suite.corruptions.values())))


def measure(
    suite: Corruptions,
    subject: "Subject",
    batches: "Callable[[], Iterable[LabelledMatrix]]",
    trials: Measurer = UNRECORDED,
) -> list[Outcomes]:
    """Whether every held-out image is named rightly, clean and under every corruption.

    Every call gives the same batches. Raises Refused when a row is no image of the declared shape.
    """
    scenarios = [Scenario("clean", {"severity": 0.0}, gated=True)] + [
        Scenario(f"{name} {severity:g}", {"severity": severity}, severity <= suite.gated_up_to)
        for name, severities in suite.corruptions.items()
        for severity in severities
    ]
    values = [
        [
            trials.measure(
                f"{scenario.name}, seed {seed}",
                lambda scenario=scenario, seed=seed: _named_rightly(
                    suite, subject, batches(), scenario, seed
                ),
            )
            for seed in suite.seeds
        ]
        for scenario in scenarios
    ]
    accuracy = np.array(values, np.float64)
    return [Outcomes("accuracy", True, scenarios, suite.seeds, accuracy, seeds_repeat_units=True)]


def _named_rightly(
    suite: Corruptions,
    subject: "Subject",
    batches: "Iterable[LabelledMatrix]",
    scenario: Scenario,
    seed: int,
) -> np.ndarray:
    """Whether each image of the scenario is named rightly, bool [rows]."""
    shape, severity = suite.image, scenario.parameters["severity"]
    name, generator = scenario.name.split()[0], _generator(seed, severity)
    found = []
    for rows, labels in batches:
        if rows.shape[1] != shape.height * shape.width:
            raise Refused(
                f"got rows of {rows.shape[1]} features, expected height x width = {shape.height} "
                f"x {shape.width} = {shape.height * shape.width}; correct the suite's image"
            )
        seen = rows
        if name != "clean":
            images_BHW = rows.reshape(len(rows), shape.height, shape.width)
            seen = _corrupted(images_BHW, name, severity, shape, generator).reshape(rows.shape)
        found.append(subject.choices(seen) == labels)
    return np.concatenate(found)


KIND = Corruptions
