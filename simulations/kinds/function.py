"""A function of one's own, which gets intervals, pictures, evidence and a gate like every kind."""

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, JsonValue

from engine.protocol import Refused
from projects.declared import Name
from projects.schema import Dataset, Model
from simulations.kind import SuiteKind, SuiteRun
from simulations.outcomes import Outcomes, Scenario
from simulations.own_function import FunctionPath, digest_of, imported

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement

Samples = Mapping[str, Mapping[str, Any]]
Measured = dict[str, dict[str, np.ndarray]]
"""Samples [seeds, units] by metric and scenario."""
FEWEST = 2
GIVEN = ("predict", "rows", "label", "parameters", "seeds")


class Function(SuiteKind):
    """A function of one's own; metrics: those that it measures.

    It takes any of these by name, and returns `{scenario: {metric: samples}}`: `predict` (takes
    rows as a list of objects by column name, an Arrow table or an array, and returns what a
    service answers for each: class names, actions or values), `rows` (the held-out rows as an
    Arrow table; None for a model without a dataset), `label` (name of the column to predict),
    `parameters` and `seeds` (as declared). Samples are numbers, one for each independent unit, or
    `[seeds, units]`.
    """

    kind: Literal["function"]
    run: FunctionPath
    """`module:function`, beside the project file or in the environment."""
    measures: dict[Name, Literal["share", "mean"]] = Field(min_length=1)
    """The metrics it returns: a `share` of units (samples are 0 or 1), or a `mean`."""
    parameters: dict[str, JsonValue] = {}
    """Handed to the function."""
    not_gated: list[str] = []
    """Scenarios that are measured and drawn, but not gated."""
    code_digest: str = ""
    """SHA-256 of the function's module, which the platform fills in: evidence of other code does
    not count."""

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures."""
        return tuple(self.measures)

    def misfit(self, model: Model, dataset: Dataset | None) -> str:
        """Empty: only the function knows what it can try."""
        return ""

    def code(self) -> tuple[str, ...]:
        """The function."""
        return (self.run,)

    def resolved(self, declaration: Path) -> Self:
        """The suite with the hash of its code. Raises UnusableSuite."""
        digest = digest_of(self.run, declaration, "run")
        return self.model_copy(update={"code_digest": digest})

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """What the function returns, checked. Raises Refused."""
        function = imported(self.run, run.python_path)
        with run.trials(1) as trials:
            trials.still_at(f"{self.run} runs")
            kept = trials.measure("function", lambda: _as_text(self._measured(function, run)))
        samples = _from_text(kept)
        return [self._outcomes(metric, samples[metric]) for metric in self.measures]

    def _measured(self, function: Callable[..., Any], run: SuiteRun) -> Measured:
        """What the function returns, checked. Raises Refused."""
        returned = _called(self, function, run)
        return {
            metric: {name: self._samples(metric, name, each) for name, each in returned.items()}
            for metric in self.measures
        }

    def _outcomes(self, metric: str, given: Mapping[str, np.ndarray]) -> Outcomes:
        most = max(each.shape[1] for each in given.values())
        values = np.full((len(given), len(self.seeds), most), np.nan)
        for place, samples in enumerate(given.values()):
            values[place, :, : samples.shape[1]] = samples
        scenarios = [Scenario(name, {}, name not in self.not_gated) for name in given]
        is_share = self.measures[metric] == "share"
        return Outcomes(metric, is_share, scenarios, self.seeds, values, seeds_repeat_units=True)

    def _samples(self, metric: str, scenario: str, returned: Any) -> np.ndarray:
        """Samples float64 [seeds, units]. Raises Refused."""
        place = f"{self.run} returned for the scenario {scenario!r}"
        if not isinstance(returned, Mapping) or metric not in returned:
            got = sorted(returned) if isinstance(returned, Mapping) else type(returned).__name__
            raise Refused(f"{place} {got}, expected samples of the metric {metric!r}")
        try:
            samples = np.asarray(returned[metric], np.float64)
        except (TypeError, ValueError) as error:
            raise Refused(f"{place} samples of {metric!r} that are no numbers: {error}") from error
        if samples.ndim == 1:
            # The function has averaged over the seeds, or uses none.
            samples = np.tile(samples, (len(self.seeds), 1))
        if samples.ndim != 2 or len(samples) != len(self.seeds):
            raise Refused(
                f"{place} samples of {metric!r} of shape {list(samples.shape)}, expected [units] "
                f"or [{len(self.seeds)} seeds, units]"
            )
        if samples.shape[1] < FEWEST:
            raise Refused(
                f"{place} {samples.shape[1]} samples of {metric!r}, expected at least {FEWEST}: "
                "fewer have no interval"
            )
        if not np.isfinite(samples).all():
            raise Refused(f"{place} samples of {metric!r} with NaN or infinity, expected numbers")
        if self.measures[metric] == "share" and not ((samples >= 0) & (samples <= 1)).all():
            raise Refused(
                f"{place} samples of {metric!r} from {samples.min():g} to {samples.max():g}, "
                "expected 0 to 1 for a share; declare it as a mean"
            )
        return samples

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Every metric by scenario with its interval."""
        from simulations.pictures import intervals

        return {metric: intervals(measurements, metric) for metric in self.measures}


def _as_text(measured: Measured) -> np.ndarray:
    """The samples as the bytes of JSON, uint8, which says every finite number exactly."""
    lists = {
        metric: {name: samples.tolist() for name, samples in by_scenario.items()}
        for metric, by_scenario in measured.items()
    }
    return np.frombuffer(json.dumps(lists).encode(), np.uint8)


def _from_text(text: np.ndarray) -> Measured:
    return {
        metric: {name: np.array(samples, np.float64) for name, samples in by_scenario.items()}
        for metric, by_scenario in json.loads(text.tobytes()).items()
    }


def _called(suite: Function, function: Callable[..., Any], run: SuiteRun) -> Samples:
    """What the function returns. Raises Refused where it raises, or returns no scenario."""
    has_rows = run.held_out.label is not None and bool(run.held_out.files)
    given = {
        "predict": run.subject.predicted,
        "rows": run.held_out.table() if has_rows else None,
        "label": run.held_out.label,
        "parameters": suite.parameters,
        "seeds": suite.seeds,
    }
    wanted = inspect.signature(function).parameters.values()
    takes_all = any(each.kind is each.VAR_KEYWORD for each in wanted)
    for each in wanted:
        if (
            each.name not in given
            and each.default is each.empty
            and each.kind
            not in (
                each.VAR_KEYWORD,
                each.VAR_POSITIONAL,
            )
        ):
            raise Refused(f"{suite.run} takes {each.name!r}, expected some of {', '.join(GIVEN)}")
    names = [each.name for each in wanted]
    chosen = {name: each for name, each in given.items() if takes_all or name in names}
    try:
        returned = function(**chosen)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{suite.run} raised {type(error).__name__}: {error}") from error
    if not isinstance(returned, Mapping) or not returned:
        raise Refused(
            f"{suite.run} returned {returned!r:.80}, expected scenarios with their samples: "
            "{'rain': {'accuracy': [1, 0, ...]}}"
        )
    return {str(name): each for name, each in returned.items()}


KIND = Function
