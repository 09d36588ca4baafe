"""The operation that repeats a past job, with changes."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from accounts.roles import Permission
from api.operations.jobs import Job
from api.operations.operation import Id, Input, OnceKey, Operation

Place = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ResubmitJob(Input):
    """A past job to submit again, with changes."""

    id: Id
    set: dict[Place, Any] = Field(default={}, max_length=200)
    """Fields to change, each as its first request took it: `{"seed": 7}`, one value of a mapping
    as `{"hyperparameters.learning_rate": 1e-3}`, or several as `{"resources": {"workers": 2}}`. A
    training takes `hyperparameters`, `seed`, `resources` and `dataset_version`, a simulation
    `model_version`, a deployment `model_version`, `rollout` and `scale`, and every job
    `max_seconds` and `callback`. Null leaves the choice to the platform: `{"dataset_version":
    null}` learns from the newest version."""
    idempotency_key: OnceKey | None = None
    """The same key again gives the same job, and starts nothing."""


RESUBMIT = Operation(
    name="jobs.resubmit",
    method="POST",
    path="/jobs/{id}/resubmit",
    summary="Submit a past job again with the values it had, or with some of them changed; needs "
    "the right to start one of its kind.",
    input=ResubmitJob,
    output=Job,
    permission=Permission("project", "read"),
    status=202,
    cost="compute",
    problems=("not-found", "conflict", "invalid", "budget-exceeded", "capacity"),
)
OPERATIONS = (RESUBMIT,)
