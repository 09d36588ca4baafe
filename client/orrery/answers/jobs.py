"""What operations take and answer: jobs.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long a job will take, from the jobs that were like it."""

    low_s: float
    high_s: float
    confidence: float
    """Probability that the interval holds the true duration."""
    based_on: list[str]


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """Where to watch a job."""

    dashboard_url: str
    metrics_endpoint: str
    logs_endpoint: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the work of a job is, as its engine reported it."""

    unit: str
    done: int
    total: int | None
    """Units of work in all; null where it cannot be known."""
    metrics: dict[str, float] = field(default_factory=dict)
    left_s: float | None = None
    """Estimate of the seconds left."""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of a job."""

    dataset_version: str | None = None
    model_version: int | None = None
    artefact_digest: str | None = None
    mlflow_run_id: str | None = None
    mlflow_url: str | None = None
    test_metrics: dict[str, float] = field(default_factory=dict)
    """Metrics of the held-out rows."""
    service_url: str | None = None
    dagster_run_id: str


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """Why a job failed."""

    cause: Literal[
        "out_of_memory",
        "not_finite",
        "bad_data",
        "hang",
        "too_long",
        "exception",
        "lost_worker",
        "lost_node",
        "outage",
        "refused",
    ]
    """In one word: what decides whether it is tried again."""
    lines: list[str] = field(default_factory=list)
    """Lines of the trace, of the stacks of a job that hung, or of the log, that matter."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One request, and how far it is."""

    job_id: str
    kind: Literal["make", "train", "simulate", "deploy"]
    project: str
    name: str
    """The model, simulation or service it is about."""
    status: Literal[
        "queued", "starting", "waiting", "running", "stopping", "succeeded", "failed", "stopped"
    ]
    message: str
    estimated_time: Estimate | None = None
    """None while there is not enough history to say."""
    monitoring: Monitoring
    webhook_url: str | None = None
    spec: dict[str, Any] = field(default_factory=dict)
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


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of a job's log; its id is the cursor to resume from."""

    at: datetime
    kind: Literal["log", "event", "progress", "output", "error", "end"]
    """`output`: what the work itself printed; `progress`: a report, whose numbers are beside it."""
    step: str
    text: str
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class BudgetAccount:
    """How one budget of a key stands."""

    unit: Literal["gpu_h", "money"]
    limit: float
    used: float
    """By the work of jobs so far, without their time in queues."""
    reserved: float
    """For jobs that have not ended: up to the upper estimate of each."""
    left: float
