"""What operations take and answer: inference.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from typing import Any

from orrery.answers.declared import Rollout, Scale


@dataclass(frozen=True, kw_only=True)
class Answering:
    """A version that answers requests at this moment."""

    version: str
    model_version: int
    artefact_digest: str
    percent: int
    """Share of the traffic."""
    requests: int | None = None
    """Requests it has answered since the router began to count; null on a cluster, where its pods'
    metrics count them."""
    errors: int | None = None
    """Those of them that were answered with a server's error."""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One process that answers."""

    version: str
    state: str
    restarts: int


@dataclass(frozen=True, kw_only=True)
class Service:
    """A declared service and what it has reached."""

    id: str
    """`project.service`."""
    project: str
    name: str
    model: str
    state: str
    """`absent`, `starting`, `canary`, `serving` or `rolled_back`."""
    answering: list[Answering] = field(default_factory=list)
    """What answers now; during a canary two versions, after a failure what traffic returned to."""
    target: str | None = None
    """Version of the newest deployment."""
    serving: str | None = None
    """Version that was accepted last, which traffic returns to."""
    model_version: int | None = None
    """Version of the model's champion: what may serve, not what serves."""
    weight: int = 0
    """Percent of the traffic that the target is to have."""
    predict_url: str
    message: str = ""
    rollout: Rollout
    scale: Scale
    replicas: list[Replica] = field(default_factory=list)
    declared_in: str
    """`file` where a file of the checkout declares it, `api`, or `nowhere` for an orphaned one."""
    etag: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the service answers."""

    outputs: list[Any]
    """Raw outputs of the model by row; every number is finite."""
    predictions: list[Any] = field(default_factory=list)
    """Class, action or value by row."""
    classes: list[str] = field(default_factory=list)
    """Names of the classes, in the order of the probabilities."""
    probabilities: list[list[float]] = field(default_factory=list)
    """Probability of each class by row, where the model has classes."""
    model_version: int
    dataset_version: str = ""
    """Version of the dataset that the model learned from."""
    request_id: str = ""
    """Identity of the request, as the request log has it."""
