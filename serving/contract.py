"""What serving is told and what it answers: packaging jobs, releases, and their status."""

from pathlib import Path
from typing import Any, Literal

from engine.protocol import Contract, JobResult, JobSpec


class PackagingSpec(JobSpec):
    """One artefact to package as a Bento."""

    service: str
    """`project.service`."""
    model: str
    model_version: int
    artefact: Path
    artefact_digest: str
    bento_home: Path
    """Folder of the BentoML store."""
    max_rows: int
    """Most rows of one call of the model."""


class PackagingResult(JobResult):
    """The Bento, and what it must answer."""

    bento: Path | None = None
    tag: str = ""
    version: str = ""
    """Content-addressed: the same artefact, options and code give the same Bento."""
    example_inputs: list[Any] = []
    example_outputs: list[Any] = []
    """Outputs of the artefact for the example inputs."""


class RequestLogPlan(Contract):
    """Where and how much of the requests is kept."""

    folder: Path
    sample: float
    megabytes: int


class Release(Contract):
    """The desired state of a service; written by the runtime door, pursued by the reconciler."""

    service: str
    version: str
    model_version: int
    artefact_digest: str
    bento: Path
    bento_home: Path
    replicas: int
    most_replicas: int = 1
    """Upper end of an autoscaler, where there is one."""
    canary: list[int]
    """Percents of traffic, ending with 100."""
    step_s: float
    request_log: RequestLogPlan | None = None


class ReplicaStatus(Contract):
    """One `bentoml serve` process."""

    version: str
    pid: int
    port: int
    """Of predictions, on the loopback address."""
    state: Literal["starting", "ready", "stopping"]
    restarts: int


class ServiceStatus(Contract):
    """What the reconciler has reached for a service."""

    service: str
    state: Literal["starting", "canary", "serving", "rolled_back"]
    target: str
    """Version of the release."""
    serving: str | None
    """Version that has all traffic, or had it before the canary."""
    weight: int
    """Percent of traffic of the target."""
    url: str
    message: str = ""
    replicas: list[ReplicaStatus] = []
