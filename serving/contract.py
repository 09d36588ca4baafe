"""What crosses the border of serving: packaging jobs, deployments, their status, and limits."""

from pathlib import Path
from typing import Any, Literal

from engine.protocol import Contract, JobResult, JobSpec

MOST_ROWS = 65_536
"""Most rows of one prediction request, at the router and at the gateway alike."""
LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of its largest body."""
WIND_DOWN_S = 60.0
"""How long a reconciler that ends lets its replicas drain and stop."""


class PackagingSpec(JobSpec):
    """One artefact to package as a Bento."""

    service: str
    """`project.service`."""
    model: str
    model_version: int
    artefact: Path
    artefact_digest: str
    dataset_version: str = ""
    """Of the dataset that the model learned from."""
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
    example_outputs: list[Any] = []
    """Outputs of the artefact for the example that is registered with it."""
    replica_mib: int | None = None
    """Memory in MiB that a process took which loaded it and answered its largest batch; None where
    it could not be measured."""


class RequestLogPlan(Contract):
    """Where and how much of the requests is kept."""

    folder: Path
    sample: float
    megabytes: int


class Deployment(Contract):
    """The desired state of a service; written by the runtime adapter, pursued by the reconciler."""

    request: str = ""
    """Identity of the request to deploy; a retry has the same one."""
    asked_at: float = 0.0
    """When it was requested, in seconds since the epoch: of two requests the later one wins."""
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


STOP = "stop.json"
"""Name of the file of a stop order, beside that of the deployment."""


class StopOrder(Contract):
    """A deployment that is not to go on; written by the runtime adapter beside the deployment."""

    request: str
    """Identity of the request to deploy."""
    reason: str


class ReplicaStatus(Contract):
    """One process that answers predictions."""

    version: str
    pid: int
    port: int
    """Of predictions, on the loopback address."""
    state: Literal["starting", "ready", "stopping"]
    restarts: int


class Answering(Contract):
    """A version that answers requests, and what it has answered."""

    version: str
    model_version: int
    artefact_digest: str
    percent: int
    """Share of the traffic."""
    requests: int | None = None
    """Requests it has answered since the router began to count; null where nobody counts."""
    errors: int | None = None
    """Those of them that were answered with 5xx or broken off."""


class ServiceStatus(Contract):
    """What has been reached for a service."""

    service: str
    state: Literal["starting", "canary", "serving", "rolled_back"]
    target: str
    """Version of the deployment."""
    request: str = ""
    """Identity of the request that the deployment is from."""
    serving: str | None
    """Version that was accepted last; traffic returns to it when the target is refused."""
    weight: int
    """Percent of the traffic that the target is to have."""
    url: str
    message: str = ""
    replicas: list[ReplicaStatus] = []
    answering: list[Answering] = []
    """Versions that answer at this moment; their percents are the whole traffic."""
