"""Episodes of a control policy in any Gymnasium environment, over varied physics."""

import hashlib
import itertools
import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from engine.protocol import Refused
from projects.declared import Declared
from projects.hyperparameters import Hyperparameter
from projects.nearest import hint
from projects.schema import Dataset, Model
from projects.suite import UnusableSuite
from projects.trainers import TrainerUnreadable, source_file
from simulations.kind import SuiteKind, SuiteRun
from simulations.outcomes import Outcomes, Scenario
from simulations.trials import UNRECORDED, Measurer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement
    from simulations.subject import Subject

NOISES = ("sensor_noise", "action_noise")
CARTPOLE = {
    *("gravity", "pole_length", "pole_mass", "push_force", "length", "masspole", "masscart"),
    *("force_mag", "tau", "theta_threshold_radians", "x_threshold", *NOISES),
}
"""What CartPole-v1 has, so that a word that is wrong is found before a policy is learned."""
NAMED = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
# Fields that older suites lack are left out at their defaults, because the hash of a suite ties
# its evidence to it.
UNSAID: Any = {"exclude_if": lambda value: not value}


class Bound(Declared):
    """What a sum over an episode must be."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected at_least, at_most, or both")
        return self

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether each value lies within the bounds."""
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.at_most is None else self.at_most
        return (low <= values) & (values <= high)


class Episodes(SuiteKind):
    """Episodes of a control policy over varied physics; metrics: survival, return, success where
    it is declared, and cost where the environment's info has one."""

    kind: Literal["episodes"]
    environment: str = Field(min_length=1)
    """Id of a Gymnasium environment; or `module:NAME`, where NAME is a function or class that
    gives an environment, or an id that the module registers."""
    arguments: dict[str, Hyperparameter] = Field(default={}, **UNSAID)
    """Keyword arguments of the environment."""
    vary: dict[str, list[float]]
    """Levels by name: of a keyword argument of the environment, of an attribute of the unwrapped
    environment (`g`, or `model.opt.timestep`), of `sensor_noise` or of `action_noise`.
    Levels are multiples of the nominal value, or values where that is 0; those of a noise are
    standard deviations, or the share of discrete actions that are drawn at random."""
    pairs: list[tuple[str, str]] = []
    """Names varied together over a grid, drawn as failure maps; measured, not gated."""
    gated_within: float = Field(default=1.0, ge=0)
    """Largest relative deviation from nominal that is gated (0.5: from 0.5x to 1.5x); of a value
    whose nominal is 0, the largest absolute one."""
    gated_noise_up_to: float = Field(default=0.0, ge=0)
    """Largest noise that is gated."""
    derive: str = Field(default="", pattern=rf"{NAMED}|^$", **UNSAID)
    """`module:function` that is called with the unwrapped environment after its attributes are
    set, to compute what its constructor derived from them."""
    success: Literal["terminated", "survived"] | dict[Literal["return", "cost"], Bound] | None = (
        Field(default=None, **UNSAID)
    )
    """When an episode succeeds: where the environment ended it, where it lasted, or where its
    return and cost are within bounds."""
    episodes: int = Field(default=64, ge=1)
    """Episodes per scenario and seed."""
    horizon: int | None = Field(default=None, ge=1)
    """Steps an episode must last to count as survived, and takes at most; by default those of
    the environment, else 500."""
    at_once: int = Field(default=32, ge=1, exclude_if=lambda value: value == 32)
    """Environments that run side by side; 1 for one that cannot."""
    step_timeout_s: float = Field(default=60, gt=0, exclude_if=lambda value: value == 60)
    """Longest time that one step, reset or making of an environment may take."""
    code_sha256: dict[str, str] = Field(default={}, **UNSAID)
    """Hash of the source of each module that is named; the platform fills it."""

    @model_validator(mode="after")
    def _has_what_it_varies(self) -> Self:
        known = CARTPOLE if self.environment == "CartPole-v1" and not self.derive else None
        for name, levels in self.vary.items():
            if known and name not in known and name not in self.arguments:
                raise ValueError(f"CartPole-v1 has no {name!r} to vary{hint(name, known)}")
            if name in NOISES and min(levels, default=0) < 0:
                raise ValueError(f"got {name} {min(levels):g}, expected none below 0")
        for name in itertools.chain(*self.pairs):
            if name not in self.vary:
                raise ValueError(f"got the pair of {name!r}, which `vary` lacks")
        return self

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures."""
        return ("survival", "return", *(("success",) if self.success else ()), "cost")

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

    def code(self) -> tuple[str, ...]:
        """The environment where it names a module, and what derives attributes."""
        return tuple(name for name in (self.environment, self.derive) if ":" in name)

    def resolved(self, declaration: Path) -> Self:
        """The suite with the hash of each module of a project's own, so that evidence does not
        outlive the code that it was measured in. Raises UnusableSuite."""
        hashes = {}
        for module in (name.partition(":")[0] for name in self.code()):
            try:
                code = source_file(module, declaration).read_bytes()
            except (TrainerUnreadable, OSError) as error:
                raise UnusableSuite(str(error)) from error
            hashes[module] = hashlib.sha256(code).hexdigest()
        return self.model_copy(update={"code_sha256": hashes}) if hashes else self

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """Survival, return and what else is measured of every episode."""
        sys.path[:0] = [folder for folder in run.python_path if folder not in sys.path]
        return measure(self, run.subject, run.trials)

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Success, else survival, against each parameter, and a failure map for each pair."""
        from simulations.pictures import curves, share_map

        metric = "success" if self.success else "survival"
        measured = {m.scenario for m in measurements}
        lines = {
            name: {
                # A level without a scenario of its own is the nominal one.
                level: scenario if (scenario := f"{name} {level:g}") in measured else "nominal"
                for level in self._drawn(name, measured)
            }
            for name in self.vary
        }
        figures = {
            f"{metric}_against_physics": curves(measurements, metric, lines, "multiple of nominal")
        }
        failed = {m.scenario: 1 - m.estimate for m in measurements if m.metric == metric}
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
        return outcomes[0].evaluations

    def _drawn(self, name: str, measured: set[str]) -> list[float]:
        """Levels on a line, the nominal one among them."""
        levels = set(self.vary[name])
        # Levels are values where 1 has a scenario of its own, and the nominal one is then 0.
        if name in NOISES or f"{name} 1" in measured:
            levels.add(0.0)
        return sorted(levels)


KIND = Episodes


def scenarios_of(suite: Episodes, zeros: Collection[str] = ()) -> list[Scenario]:
    """Nominal physics, each parameter varied alone, and the declared pairs over a grid.

    The nominal level is 0 for noises and the names in `zeros`, 1 for all others.
    """
    scenarios = [Scenario("nominal", {}, gated=True)]
    for name, levels in suite.vary.items():
        nominal = 0.0 if name in NOISES or name in zeros else 1.0
        bound = suite.gated_noise_up_to if name in NOISES else suite.gated_within
        scenarios += [
            Scenario(f"{name} {level:g}", {name: level}, abs(level - nominal) <= bound)
            for level in levels
            if level != nominal
        ]
    for first, second in suite.pairs:
        scenarios += [
            Scenario(f"{first} {a:g} {second} {b:g}", {first: a, second: b}, gated=False)
            for a, b in itertools.product(suite.vary[first], suite.vary[second])
        ]
    return scenarios


def measure(
    suite: Episodes,
    subject: "Subject",
    trials: Callable[[int], AbstractContextManager[Measurer]] = lambda _: nullcontext(UNRECORDED),
) -> list[Outcomes]:
    """What happened in every episode. Raises Refused where the environment cannot be used.

    `trials` is told how many trials there will be.
    """
    # Gymnasium takes a while to load.
    from simulations import cartpole, playing
    from simulations.watch import Watch

    if cartpole.takes(suite, subject):
        scenarios, horizon = scenarios_of(suite), suite.horizon or cartpole.HORIZON
        played = cartpole.measure(suite, scenarios, subject, trials)
    else:
        with Watch(f"the environment {suite.environment!r}", suite.step_timeout_s) as watch:
            stage = playing.stage_of(suite, subject, watch)
            scenarios, horizon = scenarios_of(suite, stage.zeros), stage.horizon
            played = playing.measure(suite, stage, scenarios, subject, trials)
    return _outcomes(suite, scenarios, horizon, played)


def _outcomes(
    suite: Episodes, scenarios: list[Scenario], horizon: int, played: np.ndarray
) -> list[Outcomes]:
    """Outcomes of what was kept of the episodes (simulations.playing.Played)."""
    shape = (len(scenarios), len(suite.seeds), suite.episodes)
    gained, steps, terminated, cost = played.T.reshape(4, *shape)
    survived = (terminated == 0) | (steps >= horizon)
    has_cost = not np.isnan(cost).all()
    measured = {"survival": survived, "return": gained}
    if has_cost:
        # An episode whose info never had the key cost nothing.
        measured["cost"] = np.nan_to_num(cost)
    if suite.success:
        measured["success"] = _succeeded(suite, measured, terminated == 1)
    return [
        Outcomes(
            metric,
            metric in ("survival", "success"),
            scenarios,
            suite.seeds,
            values.astype(np.float64),
            seeds_repeat_units=False,
            evaluations=int(steps.sum()),
        )
        for metric, values in measured.items()
    ]


def _succeeded(
    suite: Episodes, measured: dict[str, np.ndarray], terminated: np.ndarray
) -> np.ndarray:
    if suite.success == "terminated":
        return terminated
    if not isinstance(suite.success, dict):
        return measured["survival"]
    held = np.ones(terminated.shape, bool)
    for metric, bound in suite.success.items():
        if metric not in measured:
            raise Refused(
                f"`success` bounds the cost, and no info of {suite.environment!r} had the key "
                "'cost', expected one in each step: let the environment report it, or bound the "
                "return"
            )
        held &= bound.holds(measured[metric])
    return held
