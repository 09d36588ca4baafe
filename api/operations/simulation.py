"""Operations on simulations: what a model is tried in before it may serve."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from accounts.roles import Permission
from api.operations.jobs import CallbackUrl, Job, MaxSeconds
from api.operations.operation import (
    Done,
    Id,
    Input,
    OnceKey,
    Operation,
    Output,
    Page,
    Paged,
    ShortName,
)
from projects.schema import Criterion
from projects.suite_kinds import AnySuite

SuitePath = Annotated[str, StringConstraints(pattern=r"^simulations/suites/[a-z0-9_]{1,80}\.yaml$")]


class MeasuredClaim(Output):
    """An estimate with its confidence interval."""

    scenario: str
    metric: str
    gated: bool
    estimate: float
    low: float
    high: float
    n: int
    method: str


class Evidence(Output):
    """What a simulation measured about one model version, and what the gate says of it."""

    simulation: str
    model_version: int
    artefact_digest: str
    verdict: str
    """`pass`, `fail`, `inconclusive`, or `missing` where it was not run on these bytes."""
    findings: list[str]
    """The decisive scenario of every criterion, with its numbers."""
    measurements: list[MeasuredClaim] = []


class Simulation(Output):
    """A declared suite of scenarios for a model, and what it says of the newest version."""

    id: str
    """`project.simulation`."""
    project: str
    name: str
    model: str
    kind: str
    suite: dict[str, Any]
    gate: dict[str, Criterion]
    state: str
    """Status of its newest job, or `idle`."""
    job_id: str | None = None
    evidence: Evidence | None = None
    """On the newest model version; null while there is none."""
    declared_in: str
    etag: str


class SimulationId(Input):
    """One simulation."""

    id: Id


class ListSimulations(Paged):
    """Simulations that match."""

    project: ShortName | None = None
    model: ShortName | None = None


class CreateSimulation(Input):
    """A simulation to declare in a project that was created through the API."""

    project: ShortName
    name: ShortName
    model: ShortName
    suite: SuitePath | AnySuite
    """A shipped suite by its path, or a whole suite."""
    gate: dict[Annotated[str, StringConstraints(max_length=100)], Criterion] = {}
    """Criterion by metric; without one it only measures."""
    description: Annotated[str, StringConstraints(max_length=2000)] = ""


class StartSimulation(Input):
    """A run of a simulation against a model version."""

    id: Id
    model_version: int | None = Field(default=None, ge=1)
    """By default the newest, fixed when the job is taken."""
    max_seconds: MaxSeconds | None = None
    """Time after which the job is stopped."""
    callback: CallbackUrl | None = None
    idempotency_key: OnceKey | None = None


class ListEvidence(Input):
    """Evidence about one model version."""

    project: ShortName
    model: ShortName
    version: int = Field(ge=1)


class AllEvidence(Output):
    """What every simulation says of a model version, and whether it may serve."""

    model_version: int
    artefact_digest: str
    may_serve: bool
    evidence: list[Evidence]
    checked_at: datetime


CREATE = Operation(
    name="simulate.create",
    method="POST",
    path="/simulation/environments",
    summary="Declare a simulation: scenarios for a model, and the gate over their results.",
    input=CreateSimulation,
    output=Simulation,
    permission=Permission("simulation", "create"),
    status=201,
    cost="light",
    problems=("not-found", "conflict", "invalid"),
)
LIST = Operation(
    name="simulate.list",
    method="GET",
    path="/simulation/environments",
    summary="List simulations and their verdicts.",
    input=ListSimulations,
    output=Page[Simulation],
    permission=Permission("simulation", "read"),
)
GET = Operation(
    name="simulate.get",
    method="GET",
    path="/simulation/environments/{id}",
    summary="Show one simulation, with the evidence about the newest model version.",
    input=SimulationId,
    output=Simulation,
    permission=Permission("simulation", "read"),
    problems=("not-found",),
)
START = Operation(
    name="simulate.start",
    method="POST",
    path="/simulation/environments/{id}",
    summary="Run a simulation against a model version; answers at once with a handle to poll.",
    input=StartSimulation,
    output=Job,
    permission=Permission("simulation", "execute"),
    status=202,
    cost="compute",
    problems=("not-found", "conflict", "budget-exceeded", "capacity"),
)
DELETE = Operation(
    name="simulate.delete",
    method="DELETE",
    path="/simulation/environments/{id}",
    summary="Remove a simulation from its project; the evidence it left is kept.",
    input=SimulationId,
    output=Done,
    permission=Permission("simulation", "delete"),
    cost="light",
    problems=("not-found", "conflict"),
)
EVIDENCE = Operation(
    name="models.evidence",
    method="GET",
    path="/models/{project}/{model}/versions/{version}/evidence",
    summary="Show what every simulation measured about a model version, and the gate's verdict.",
    input=ListEvidence,
    output=AllEvidence,
    permission=Permission("model", "read"),
    problems=("not-found",),
)
OPERATIONS = (CREATE, LIST, GET, START, DELETE, EVIDENCE)
