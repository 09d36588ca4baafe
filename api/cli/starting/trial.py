"""Small models of the data, trained and tried as the platform does, to put a bound beside a
baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.starting.draft import CannotStart, rounded_down, rounded_up
from projects.schema import Criterion
from projects.suite_kinds import read_suite
from resources.compute.contract import JobLost, JobRefused
from resources.compute.local import LocalCompute
from resources.datasets.version import DatasetVersion
from simulations.contract import SimulationResult, SimulationSpec
from simulations.evidence import Evidence, judge
from training.contract import DatasetFiles, TrainingResult, TrainingSpec

TIMEOUT_S = 300
SHARE = 0.5
"""How far from the baseline to the end of the interval the bound lies."""
OFS = ("worst", "mean")


@dataclass(frozen=True)
class Trial:
    """What the best small model and the baseline reach on held-out rows."""

    noun: str
    """What was tried: a small model, or the model that is there."""
    hyperparameters: dict[str, Any]
    metric: str
    score: float
    baseline: float
    evidence: Evidence
    """Of the suite that the project will have."""

    @classmethod
    def of(
        cls,
        noun: str,
        version: DatasetVersion,
        trainer: str,
        choices: Sequence[dict[str, Any]],
        suite: dict[str, Any],
        folder: Path,
    ) -> "Trial":
        """The better of the choices on set-aside training rows. Raises CannotStart."""
        compute = LocalCompute(folder / "work", folder / "no-warm-server")
        metric = "accuracy" if version.task == "classification" else "rmse"
        try:
            results = [
                compute.run(
                    "training.main",
                    _training(compute, version, trainer, choice, number),
                    TrainingResult,
                    lambda _: None,
                )
                for number, choice in enumerate(choices)
            ]
            loss = "validation_log_loss" if metric == "accuracy" else "validation_rmse"
            # Few rows have none that are set aside; then the first choice is as good as any.
            losses = [result.metrics.get(loss, 0.0) for result in results]
            best = losses.index(min(losses))
            spec = _simulation(compute, version, results[best], suite)
            tried = compute.run("simulations.main", spec, SimulationResult, lambda _: None)
        except (JobRefused, JobLost) as error:
            raise CannotStart(f"{noun} does not fit the rows: {error}") from error
        assert tried.evidence  # a result without failure has it
        measured = results[best].metrics
        return cls(
            noun,
            choices[best],
            metric,
            measured[f"test_{metric}"],
            measured[f"baseline_{metric}"],
            tried.evidence,
        )

    @property
    def sentence(self) -> str:
        """Both scores, in words."""
        text = f"{self.metric} of {self.noun} {self.score:.3g}, "
        text += f"of the baseline {self.baseline:.3g}"
        if self.bound is not None:
            return text
        return f"{text}: the rows do not prove that it is better, so the gate will not pass"

    @property
    def bound(self) -> tuple[float, str] | None:
        """A bound between the baseline and what the small model certainly reaches, and whether the
        worst scenario or the mean must clear it; None where neither is better than the baseline."""
        for of in OFS:
            criterion = self._criterion(self.baseline, of)
            (finding,) = judge(self.evidence, {self.metric: criterion}).findings
            if finding.outcome == "pass":
                end = finding.measurement.low if self._is_high else finding.measurement.high
                return self.baseline + SHARE * (end - self.baseline), of
        return None

    @property
    def gate(self) -> str:
        """The gate as a line of YAML."""
        bound, of = self.bound or (self.baseline, "worst")
        digits = 2 if self._is_high else max(0, 3 - len(str(int(abs(bound)))))
        rounded = rounded_down(bound, digits) if self._is_high else rounded_up(bound, digits)
        side = "at_least" if self._is_high else "at_most"
        which = ", of: mean" if of == "mean" else ""
        return (
            f"{self.metric}: {{{side}: {rounded:g}{which}}}   # the baseline has "
            f"{self.baseline:.3g}, {self.noun} {self.score:.3g}"
        )

    @property
    def _is_high(self) -> bool:
        return self.metric == "accuracy"

    def _criterion(self, bound: float, of: Any) -> Criterion:
        side = "at_least" if self._is_high else "at_most"
        return Criterion.model_validate({side: bound, "of": of})


def _training(
    compute: LocalCompute,
    version: DatasetVersion,
    trainer: str,
    hyperparameters: dict[str, Any],
    number: int,
) -> TrainingSpec:
    return TrainingSpec(
        job=f"training-{number}",
        workdir=compute.workdir(f"training-{number}"),
        timeout_s=TIMEOUT_S,
        project=version.project,
        model="model",
        trainer=trainer,
        hyperparameters=hyperparameters,
        seed=0,
        dataset=DatasetFiles(**version.model_dump(include=set(DatasetFiles.model_fields))),
    )


def _simulation(
    compute: LocalCompute, version: DatasetVersion, trained: TrainingResult, suite: dict[str, Any]
) -> SimulationSpec:
    assert trained.artefact  # a result without failure has it
    return SimulationSpec(
        job="simulation",
        workdir=compute.workdir("simulation"),
        timeout_s=TIMEOUT_S,
        project=version.project,
        simulation="hard-rows",
        model="model",
        suite=read_suite(suite).model_dump(mode="json"),
        artefact=trained.artefact,
        artefact_digest=trained.artefact_digest,
        rows=version.test,
        label=version.label,
    )
