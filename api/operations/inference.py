"""Operations on services: deploy, look, change, stop, ask."""

from typing import Any

from pydantic import Field

from accounts.roles import Permission
from api.operations.jobs import CallbackUrl, Job, MaxSeconds
from api.operations.operation import (
    Id,
    IfMatch,
    Input,
    OnceKey,
    Operation,
    Output,
    Page,
    Paged,
    ShortName,
)
from projects.schema import Rollout, Scale
from serving.contract import MOST_ROWS


class Replica(Output):
    """One process that answers."""

    version: str
    state: str
    restarts: int


class Answering(Output):
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


class Service(Output):
    """A declared service and what it has reached."""

    id: str
    """`project.service`."""
    project: str
    name: str
    model: str
    state: str
    """`absent`, `starting`, `canary`, `serving` or `rolled_back`."""
    answering: list[Answering] = []
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
    replicas: list[Replica] = []
    declared_in: str
    """`file` where a file of the checkout declares it, `api`, or `nowhere` for an orphaned one."""
    etag: str


class ServiceId(Input):
    """One service."""

    id: Id


class ListServices(Paged):
    """Services that match."""

    project: ShortName | None = None
    model: ShortName | None = None


class DeployService(Input):
    """A service to deploy; one that is not declared yet is declared first."""

    project: ShortName
    name: ShortName
    model: ShortName | None = None
    """Model to serve; not needed for a declared service."""
    rollout: Rollout | None = None
    scale: Scale | None = None
    model_version: int | None = Field(default=None, ge=1)
    """Version to promote and serve, if its evidence passes the gate; by default the newest."""
    max_seconds: MaxSeconds | None = None
    """Time after which the deployment is stopped."""
    callback: CallbackUrl | None = None
    idempotency_key: OnceKey | None = None


class ChangeService(Input):
    """A change to a service; what is not named stays."""

    id: Id
    rollout: Rollout | None = None
    scale: Scale | None = None
    model_version: int | None = Field(default=None, ge=1)
    """Version to promote and serve; its evidence must pass the gate."""
    max_seconds: MaxSeconds | None = None
    """Time after which the deployment is stopped."""
    if_match: IfMatch | None = None
    """ETag of the service as it was read; a service changed since is not touched (412)."""


class Predict(Input):
    """Rows to predict: exactly one of `inputs` and `rows`.

    Values are what the columns of the model take (see the service's `/docs.json`): a number, a
    text or one of the categories, true or false, or a date of ISO 8601; null where a value may be
    missing. A row for which the model gives no finite number is refused.
    """

    id: Id
    # `Any`, because the replica checks the values: router and gateway refuse with the same words.
    inputs: list[list[Any]] | None = Field(default=None, min_length=1, max_length=MOST_ROWS)
    """One list of values per row, in the order of the columns."""
    rows: list[dict[str, Any]] | None = Field(default=None, min_length=1, max_length=MOST_ROWS)
    """One object per row, by column name, where the model has columns."""


class Prediction(Output):
    """What the service answers."""

    outputs: list[Any]
    """Raw outputs of the model by row; every number is finite."""
    predictions: list[Any] = []
    """Class, action or value by row."""
    classes: list[str] = []
    """Names of the classes, in the order of the probabilities."""
    probabilities: list[list[float]] = []
    """Probability of each class by row, where the model has classes."""
    model_version: int
    dataset_version: str = ""
    """Version of the dataset that the model learned from."""
    request_id: str = ""
    """Identity of the request, as the request log has it."""


DEPLOY = Operation(
    name="services.deploy",
    method="POST",
    path="/inference/services",
    summary="Deploy a service: promote a model version that its evidence allows, and serve it.",
    input=DeployService,
    output=Job,
    permission=Permission("service", "create"),
    status=202,
    cost="compute",
    problems=("not-found", "conflict", "invalid"),
)
LIST = Operation(
    name="services.list",
    method="GET",
    path="/inference/services",
    summary="List services and what serves.",
    input=ListServices,
    output=Page[Service],
    permission=Permission("service", "read"),
)
GET = Operation(
    name="services.get",
    method="GET",
    path="/inference/services/{id}",
    summary="Show one service.",
    input=ServiceId,
    output=Service,
    permission=Permission("service", "read"),
    problems=("not-found",),
)
CHANGE = Operation(
    name="services.change",
    method="PATCH",
    path="/inference/services/{id}",
    summary="Change rollout, scale or model version of a service, and deploy it anew.",
    input=ChangeService,
    output=Job,
    permission=Permission("service", "update"),
    status=202,
    cost="compute",
    problems=("not-found", "conflict", "invalid", "precondition-failed"),
)
UNDEPLOY = Operation(
    name="services.undeploy",
    method="DELETE",
    path="/inference/services/{id}",
    summary="Stop serving; requests in progress are answered first.",
    input=ServiceId,
    output=Service,
    permission=Permission("service", "delete"),
    cost="light",
    problems=("not-found",),
)
PREDICT = Operation(
    name="services.predict",
    method="POST",
    path="/inference/services/{id}/predict",
    summary="Ask a service for predictions.",
    input=Predict,
    output=Prediction,
    permission=Permission("service", "execute"),
    problems=("not-found", "invalid", "not-serving", "upstream-failed"),
)
OPERATIONS = (DEPLOY, LIST, GET, CHANGE, UNDEPLOY, PREDICT)
