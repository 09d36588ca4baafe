"""Operations on jobs: train, follow, stop."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from accounts.roles import Permission
from api.operations.curves import CurvePoints, MetricName, Metrics
from api.operations.job_resources import JobResources
from api.operations.operation import (
    Id,
    Input,
    OnceKey,
    Operation,
    Output,
    Page,
    Paged,
    ShortName,
)
from engine.cause import Cause
from projects.hyperparameters import Hyperparameter, HyperparameterName
from projects.search import Search
from scheduler.states import Kind, Status

Reference = Annotated[
    str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")
]
MaxSeconds = Annotated[float, Field(gt=0, le=31_536_000)]

CallbackUrl = Annotated[
    str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.:\[\]_-]{1,300}(/[!-~]{0,1700})?$")
]


class SubmitTraining(Input):
    """A training job to start."""

    model: Reference
    """A declared model (`reader`, `digits/reader`), an importable trainer
    (`training.vision:train`), or a Hugging Face id (`hf:google/vit-base-patch16-224`)."""
    project: ShortName | None = None
    """Project of the model; needed where two projects have a model of this name."""
    dataset: Reference | None = None
    """A declared dataset, or a URI such as `sklearn:digits` or `s3://bucket/x.parquet`; by default
    the model's declared one."""
    dataset_version: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    """Content hash of the dataset version; by default the newest, fixed when the job is taken."""
    label: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Column to predict, for a dataset given by its URI."""
    hyperparameters: dict[HyperparameterName, Hyperparameter] = {}
    """Values in place of declared ones, for this job alone; it does not search over them."""
    search: Search | Literal[False] | None = None
    """Search for hyperparameters in place of the declared one; false for a training without."""
    from_checkpoint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    """Content hash of a checkpoint of the model to go on from, or how it begins; another number of
    epochs or of workers may be asked for."""
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    resources: JobResources = JobResources()
    callback: CallbackUrl | None = None
    """URL that gets a signed message when the job starts and when it ends."""
    max_seconds: MaxSeconds | None = None
    """Time after which the job is stopped; a key with a budget needs it where too few jobs like it
    have ended."""
    idempotency_key: OnceKey | None = None
    """The same key again gives the same job, and starts nothing."""


class BudgetAccount(Output):
    """How one budget of a key stands."""

    unit: Literal["gpu_h", "money"]
    limit: float
    used: float
    """By the work of jobs so far, without their time in queues."""
    reserved: float
    """For jobs that have not ended: up to the upper estimate of each."""
    left: float


class Estimate(Output):
    """How long a job will take, from the jobs that were like it."""

    low_s: float
    high_s: float
    confidence: float
    """Probability that the interval holds the true duration."""
    based_on: list[str]


class Monitoring(Output):
    """Where to watch a job."""

    dashboard_url: str
    metrics_endpoint: str
    logs_endpoint: str


class Progress(Output):
    """How far the work of a job is, as its engine reported it."""

    unit: str
    done: int
    total: int | None
    """Units of work in all; null where it cannot be known."""
    metrics: dict[str, float] = {}
    left_s: float | None = None
    """Estimate of the seconds left."""
    message: str = ""


class Made(Output):
    """What came of a job."""

    dataset_version: str | None = None
    model_version: int | None = None
    artefact_digest: str | None = None
    mlflow_run_id: str | None = None
    mlflow_url: str | None = None
    test_metrics: dict[str, float] = {}
    """Metrics of the held-out rows."""
    service_url: str | None = None
    dagster_run_id: str


class JobFailure(Output):
    """Why a job failed."""

    cause: Cause
    """In one word: what decides whether it is tried again."""
    lines: list[str] = []
    """Lines of the trace, of the stacks of a job that hung, or of the log, that matter."""


class Job(Output):
    """One request, and how far it is."""

    job_id: str
    kind: Kind
    project: str
    name: str
    """The model, simulation or service it is about."""
    status: Status
    message: str
    estimated_time: Estimate | None = None
    """None while there is not enough history to say."""
    monitoring: Monitoring
    webhook_url: str | None = None
    spec: dict[str, Any] = {}
    """Everything the job was asked, with every reference resolved."""
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    created_by: str
    gpus: int = 0
    cost: float | None = None
    """Money it has cost so far; null where no price is set."""
    progress: Progress | None = None
    """The newest report of its work."""
    worked_s: float | None = None
    """Seconds that its work has run, without its time in queues: what is billed."""
    verdict: Literal["pass", "fail", "inconclusive"] | None = None
    """What the gate says of what it measured; a verdict is a result, and no failure of the job."""
    made: Made | None = None
    """What came of it; null while there is nothing."""
    failure: JobFailure | None = None
    """Why it failed; null for a job that did not."""
    created_with: str | None = None
    """Name of the API key that the request came with."""
    on_behalf_of: str | None = None
    """Who an agent acted for."""


class JobId(Input):
    """One job."""

    id: Id


class ListJobs(Paged):
    """Jobs that match."""

    project: ShortName | None = None
    name: ShortName | None = None
    status: Status | None = None


class ListAnyJobs(ListJobs):
    """Jobs of every kind that match."""

    kind: Kind | None = None


class FollowLogs(Input):
    """The log of one job, from a place in it."""

    id: Id
    last_event_id: Annotated[str, StringConstraints(pattern=r"^\d{1,6}\.\d{1,18}$")] | None = None
    """Id of the last line that was received; what follows it is sent."""
    follow: bool = True
    """Whether to wait for what is still to come; false ends with the newest line."""


class LogLine(Output):
    """One line of a job's log; its id is the cursor to resume from."""

    at: datetime
    kind: Literal["log", "event", "progress", "output", "error", "end"]
    """`output`: what the work itself printed; `progress`: a report, whose numbers are beside it."""
    step: str
    text: str
    progress: Progress | None = None


class JobMetrics(Input):
    """Metrics of one job."""

    id: Id
    names: list[MetricName] = Field(default=[], max_length=50)
    """Metrics to give; all by default."""
    points: CurvePoints = 1_000
    """Values of each metric at most; of more, the first and the last are given, and of equal parts
    between them the smallest and the largest."""


TRAIN = Permission("model", "execute")
SUBMIT = Operation(
    name="train.submit",
    method="POST",
    path="/train/jobs",
    summary="Start a training job; answers at once with a handle to poll.",
    input=SubmitTraining,
    output=Job,
    permission=TRAIN,
    status=202,
    cost="compute",
    problems=("not-found", "conflict", "invalid", "budget-exceeded", "capacity"),
)
LIST = Operation(
    name="train.list",
    method="GET",
    path="/train/jobs",
    summary="List training jobs, newest first.",
    input=ListJobs,
    output=Page[Job],
    permission=Permission("model", "read"),
)
GET = Operation(
    name="train.get",
    method="GET",
    path="/train/jobs/{id}",
    summary="Show one training job.",
    input=JobId,
    output=Job,
    permission=Permission("model", "read"),
    problems=("not-found",),
)
STOP = Operation(
    name="train.stop",
    method="DELETE",
    path="/train/jobs/{id}",
    summary="Stop a training job, whose metrics and checkpoints are kept; delete an ended one.",
    input=JobId,
    output=Job,
    permission=TRAIN,
    status=202,
    cost="light",
    problems=("not-found",),
)
LOGS = Operation(
    name="train.logs",
    method="GET",
    path="/train/jobs/{id}/logs",
    summary="Follow the log of a job, from any place in it.",
    input=FollowLogs,
    output=LogLine,
    permission=Permission("model", "read"),
    problems=("not-found",),
    streams=True,
    for_agents=False,
)
METRICS = Operation(
    name="train.metrics",
    method="GET",
    path="/train/jobs/{id}/metrics",
    summary="Show the curves of a training job so far.",
    input=JobMetrics,
    output=Metrics,
    permission=Permission("model", "read"),
    problems=("not-found",),
)
LIST_ANY = Operation(
    name="jobs.list",
    method="GET",
    path="/jobs",
    summary="List jobs of every kind, newest first.",
    input=ListAnyJobs,
    output=Page[Job],
    permission=Permission("project", "read"),
)
GET_ANY = Operation(
    name="jobs.get",
    method="GET",
    path="/jobs/{id}",
    summary="Show a job of any kind: the handle that long work returns.",
    input=JobId,
    output=Job,
    permission=Permission("project", "read"),
    problems=("not-found",),
)
STOP_ANY = Operation(
    name="jobs.stop",
    method="DELETE",
    path="/jobs/{id}",
    summary="Stop a job, or delete an ended one; needs the right to start one of its kind.",
    input=JobId,
    output=Job,
    permission=Permission("project", "read"),
    status=202,
    cost="light",
    problems=("not-found",),
)
OPERATIONS = (SUBMIT, LIST, GET, STOP, LOGS, METRICS, LIST_ANY, GET_ANY, STOP_ANY)
