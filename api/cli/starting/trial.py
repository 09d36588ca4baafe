"""Small models of the data, or models that are there, tried as the platform does, to put a bound
beside a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.starting.draft import CannotStart, rounded_down, rounded_up
from projects.finished_model import FINISHED
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
    """What was tried: a small model, or what is there."""
    hyperparameters: dict[str, Any]
    metric: str
    score: float
    baseline: float
    evidence: Evidence
    """Of the suite that the project will have."""
    rival: str = "the baseline"
    """Whose score the baseline is."""

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
        metric = "accuracy" if version.task == "classification" else "rmse"
        engines = _Engines(folder, version.project)
        dataset = DatasetFiles(**version.model_dump(include=set(DatasetFiles.model_fields)))
        try:
            results = [engines.trained(trainer, choice, dataset) for choice in choices]
            loss = "validation_log_loss" if metric == "accuracy" else "validation_rmse"
            # Few rows have none that are set aside; then the first choice is as good as any.
            losses = [result.metrics.get(loss, 0.0) for result in results]
            best = losses.index(min(losses))
            evidence = engines.tried(suite, results[best], version.test, version.label)
        except (JobRefused, JobLost) as error:
            raise CannotStart(f"{noun} does not fit the rows: {error}") from error
        measured = results[best].metrics
        return cls(
            noun,
            choices[best],
            metric,
            measured[f"test_{metric}"],
            measured[f"baseline_{metric}"],
            evidence,
        )

    @classmethod
    def of_policy(
        cls,
        project: str,
        hyperparameters: dict[str, Any],
        suite: dict[str, Any],
        random_return: float,
        folder: Path,
    ) -> "Trial":
        """What a finished policy reaches in episodes, beside random actions. Raises CannotStart."""
        engines = _Engines(folder, project)
        try:
            result = engines.trained(FINISHED, hyperparameters, None)
            evidence = engines.tried(suite, result, [], None)
        except (JobRefused, JobLost) as error:
            raise CannotStart(f"the policy does not fit the environment: {error}") from error
        score = evidence.of("return", "nominal").estimate
        rival = "a random policy"
        return cls("the policy", hyperparameters, "return", score, random_return, evidence, rival)

    @property
    def sentence(self) -> str:
        """Both scores, in words."""
        text = f"{self.metric} of {self.noun} {self.score:.3g}, "
        text += f"of {self.rival} {self.baseline:.3g}"
        if self.bound is not None:
            return text
        return f"{text}: this does not prove that it is better, so the gate will not pass"

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
        digits = 2 if self.metric == "accuracy" else max(0, 3 - len(str(int(abs(bound)))))
        rounded = rounded_down(bound, digits) if self._is_high else rounded_up(bound, digits)
        side = "at_least" if self._is_high else "at_most"
        which = ", of: mean" if of == "mean" else ""
        return (
            f"{self.metric}: {{{side}: {rounded:g}{which}}}   # {self.rival} has "
            f"{self.baseline:.3g}, {self.noun} {self.score:.3g}"
        )

    @property
    def _is_high(self) -> bool:
        return self.metric != "rmse"

    def _criterion(self, bound: float, of: Any) -> Criterion:
        side = "at_least" if self._is_high else "at_most"
        return Criterion.model_validate({side: bound, "of": of})


class _Engines:
    """The engines of training and simulation, run in a folder."""

    def __init__(self, folder: Path, project: str) -> None:
        self._compute = LocalCompute(folder / "work", folder / "no-warm-server")
        self._project, self._trainings = project, 0

    def trained(
        self, trainer: str, hyperparameters: dict[str, Any], dataset: DatasetFiles | None
    ) -> TrainingResult:
        """What the trainer made. Raises JobRefused or JobLost."""
        self._trainings += 1
        job = f"training-{self._trainings}"
        spec = TrainingSpec(
            job=job,
            workdir=self._compute.workdir(job),
            timeout_s=TIMEOUT_S,
            project=self._project,
            model="model",
            trainer=trainer,
            hyperparameters=hyperparameters,
            seed=0,
            dataset=dataset,
        )
        return self._compute.run("training.main", spec, TrainingResult, lambda _: None)

    def tried(
        self, suite: dict[str, Any], trained: TrainingResult, rows: list[str], label: str | None
    ) -> Evidence:
        """What the suite measures of the model. Raises JobRefused or JobLost."""
        assert trained.artefact  # a result without failure has it
        spec = SimulationSpec(
            job="simulation",
            workdir=self._compute.workdir("simulation"),
            timeout_s=TIMEOUT_S,
            project=self._project,
            simulation="simulation",
            model="model",
            suite=read_suite(suite).model_dump(mode="json"),
            artefact=trained.artefact,
            artefact_digest=trained.artefact_digest,
            rows=rows,
            label=label,
        )
        result = self._compute.run("simulations.main", spec, SimulationResult, lambda _: None)
        assert result.evidence
        return result.evidence
