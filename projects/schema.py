"""The declaration of a project: its datasets, models, simulations, services and automation."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    StringConstraints,
    model_validator,
)

from projects.dataset import (
    Bounds,
    ColumnExpectation,
    Dataset,
    Expectations,
    ImageSize,
    Split,
)
from projects.declared import Declared, Name
from projects.finished_model import FINISHED, Address
from projects.hyperparameters import Hyperparameter, HyperparameterName
from projects.log_rule import LogRule
from projects.nearest import hint
from projects.placement import (
    Placement,
    Resources,
    ServiceResources,
    SimulationResources,
)
from projects.retention import Kept, KeptCheckpoints, Retention
from projects.search import Search, search_faults

__all__ = [
    "Automation",
    "Batching",
    "Bounds",
    "ColumnExpectation",
    "Criterion",
    "Dataset",
    "Expectations",
    "Hyperparameter",
    "ImageSize",
    "Kept",
    "KeptCheckpoints",
    "LogRule",
    "Model",
    "Project",
    "RequestLog",
    "Retention",
    "Retrain",
    "Rollout",
    "Scale",
    "Search",
    "Service",
    "Simulation",
    "Split",
    "UnusableReference",
]

Owner = Annotated[str, StringConstraints(pattern=r"^(team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")]
Trainer = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Cron = Annotated[str, StringConstraints(pattern=r"^(\S+\s+){4}\S+$")]


class Model(Declared):
    """A registered name and the way its versions are learned."""

    from_: Address | None = Field(default=None, alias="from")
    """A finished model in place of a trainer: a file or folder (ONNX, scikit-learn of skops),
    `s3://BUCKET/KEY`, `mlflow:models:/NAME/VERSION`, `hf:OWNER/NAME[@REVISION][:FILE]`."""
    trainer: Trainer
    """`module:function` with Ray Train's signature `train(config: dict) -> None`."""
    dataset: Name | None = None
    """Dataset to learn from; a control policy may learn from its environment alone."""
    hyperparameters: dict[HyperparameterName, Hyperparameter] = {}
    resources: Resources = Resources()
    placement: Placement = Placement()
    search: Search | None = None
    """Search for hyperparameters in place of one training."""
    seed: int = Field(default=0, ge=0)
    timeout_s: float = Field(default=86_400, gt=0)
    """Longest time a job may train."""
    stall_timeout_s: float = Field(default=1_800, gt=0)
    """Longest silence between two reports before the job is stopped as hung."""
    log_rules: list[LogRule] = []
    """What lines of the log ask for where a job of this model does not end well."""
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _has_one_origin(cls, given: Any) -> Any:
        """A finished model has the trainer that brings it, which is told where it lies."""
        if not isinstance(given, dict) or given.get("from") is None:
            return given
        if given.get("trainer", FINISHED) != FINISHED:
            raise ValueError("got both from and trainer, expected one of them")
        others = given.get("hyperparameters", {})
        if not isinstance(others, dict):
            return {"trainer": FINISHED, **given}
        values = {**others, "model": given["from"]}
        return {**given, "trainer": FINISHED, "hyperparameters": values}

    def ordered(
        self, hyperparameters: dict[str, Any], search: Search | Literal[False] | None
    ) -> Self:
        """The model as one job trains it: with these values in place of declared ones, over which
        it does not search, and with a search, without one (False), or with the declared one."""
        wanted = self.search if search is None else search or None
        return self.model_copy(
            update={
                "hyperparameters": {**self.hyperparameters, **hyperparameters},
                "search": wanted.without(hyperparameters) if wanted else None,
            }
        )


class Criterion(Declared):
    """A bound that a measured metric must clear, with statistical confidence."""

    at_least: float | None = None
    at_most: float | None = None
    of: Literal["worst", "mean"] = "worst"
    """`worst`: every gated scenario must clear the bound; `mean`: their average must."""

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("expected exactly one of at_least and at_most")
        return self


class Simulation(Declared):
    """A suite of scenarios run against a model version, and the gate over its results."""

    model: Name
    suite: str | dict[str, Any]
    """The suite, or the path of its file relative to the project file or to the checkout."""
    gate: dict[str, Criterion] = {}
    """Criterion by metric; a simulation without a gate only measures."""
    resources: SimulationResources = SimulationResources()
    placement: Placement = Placement()
    timeout_s: float = Field(default=21_600, gt=0)
    """Longest time that one run of the suite may take."""
    stall_timeout_s: float = Field(default=1_800, gt=0)
    """Longest silence between two reports before it is stopped as hung."""
    description: str = ""


class Rollout(Declared):
    """How a new version takes over traffic."""

    canary: list[Annotated[int, Field(ge=1, le=100)]] = [100]
    """Percent of traffic at each step, ending with 100."""
    step_s: float = Field(default=5, ge=0)
    """Time each step must stay healthy before the next."""

    @model_validator(mode="after")
    def _ends_with_all_traffic(self) -> Self:
        if self.canary != sorted(set(self.canary)) or self.canary[-1:] != [100]:
            raise ValueError(f"got steps {self.canary}, expected rising percents that end with 100")
        return self


class Scale(Declared):
    """How many processes answer."""

    min: int = Field(default=1, ge=1, le=256)
    """Processes the embedded runtime keeps; the lower end of a cluster's autoscaler."""
    max: int = Field(default=1, ge=1, le=256)
    """Upper end of a cluster's autoscaler."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"got max {self.max} below min {self.min}")
        return self


class RequestLog(Declared):
    """The bounded, sampled record of answered requests: the dataset of the next turn."""

    enabled: bool = True
    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of requests kept."""
    megabytes: int = Field(default=64, ge=1)
    """Size of the log of all replicas at which the oldest requests are dropped."""


class Batching(Declared):
    """How concurrent requests share one call of the model: what arrives while the model is
    busy goes into its next call together."""

    max_rows: int = Field(default=256, ge=1, le=65_536)


class Service(Declared):
    """A running inference endpoint for the champion of a model."""

    model: Name
    rollout: Rollout = Rollout()
    scale: Scale = Scale()
    batching: Batching = Batching()
    request_log: RequestLog = RequestLog()
    resources: ServiceResources = ServiceResources()
    placement: Placement = Placement()
    description: str = ""


class Retrain(Declared):
    """What starts the next turn of the loop."""

    on: list[Literal["new_data", "drift"]] = []


class Automation(Declared):
    """What the platform starts by itself."""

    retrain: Retrain = Retrain()
    nightly_simulation: Cron | None = None
    """Cron expression, in UTC."""


class Project(Declared):
    """A declared set of datasets, models, simulations and services with one owner."""

    project: Name
    owner: Owner
    description: str = ""
    datasets: dict[Name, Dataset] = {}
    models: dict[Name, Model] = {}
    simulations: dict[Name, Simulation] = {}
    services: dict[Name, Service] = {}
    automation: Automation = Automation()
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _refers_to_what_it_declares(self) -> Self:
        for name, dataset in self.datasets.items():
            self._require_origins(name, dataset)
        for name, model in self.models.items():
            if model.dataset is not None:
                _require(model.dataset, self.datasets, f"models.{name}.dataset", "dataset")
            for path, message in search_faults(model):
                raise UnusableReference(f"models.{name}.{path}", message)
        for name, simulation in self.simulations.items():
            _require(simulation.model, self.models, f"simulations.{name}.model", "model")
        for name, service in self.services.items():
            path = f"services.{name}.model"
            _require(service.model, self.models, path, "model")
            if not any(s.gate for s in self.simulations_of(service.model).values()):
                raise UnusableReference(
                    path,
                    f"model {service.model!r} has no simulation with a gate, expected at least "
                    "one: nothing may reach traffic without evidence",
                )
        self._require_distinct_names()
        return self

    def _require_origins(self, name: str, dataset: Dataset) -> None:
        """Return when the dataset can be made of what is declared."""
        scheme, _, service = dataset.source.partition(":")
        if scheme == "requests":
            _require(service, self.services, f"datasets.{name}.source", "service")
        for key, message in dataset.contradictions().items():
            raise UnusableReference(f"datasets.{name}.{key}", message)
        for upstream in dataset.from_:
            _require(upstream, self.datasets, f"datasets.{name}.from", "dataset")
        if dataset.predict:
            _require(dataset.predict, self.models, f"datasets.{name}.predict", "model")
        if name in self.origins_of(name):
            message = f"{name!r} is made from itself: {', '.join(self.origins_of(name))}"
            raise UnusableReference(f"datasets.{name}.from", message)

    def _require_distinct_names(self) -> None:
        for family in ("datasets", "models", "simulations", "services"):
            seen: dict[str, str] = {}
            for name in getattr(self, family):
                # Dagster's op names know no hyphen: a-b and a_b would be one op.
                other = seen.setdefault(name.replace("-", "_"), name)
                if other != name:
                    raise UnusableReference(
                        f"{family}.{name}", f"{name!r} and {other!r} differ only in - and _"
                    )

    def origins_of(self, dataset: str) -> list[str]:
        """Datasets that it is made from, directly or not, each after those it is made from."""
        found: list[str] = []
        seen: set[str] = set()

        def visit(name: str) -> None:
            for upstream in self._directly_before(name):
                if upstream not in seen:
                    seen.add(upstream)
                    visit(upstream)
                    found.append(upstream)

        visit(dataset)
        return found

    def _directly_before(self, dataset: str) -> list[str]:
        """Datasets that it is made from, and what its predicting model learned from."""
        declared = self.datasets.get(dataset)
        if declared is None:
            return []
        model = self.models.get(declared.predict or "")
        return [*declared.from_, *([model.dataset] if model and model.dataset else [])]

    def simulations_of(self, model: str) -> dict[str, Simulation]:
        """Simulations that prove the model, by name."""
        return {name: s for name, s in self.simulations.items() if s.model == model}


class UnusableReference(ValueError):
    """A part of a declaration does not fit the others."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def _require(name: str, declared: dict, path: str, kind: str) -> None:
    if name not in declared:
        raise UnusableReference(
            path, f"got {name!r}, expected a declared {kind}{hint(name, declared)}"
        )
