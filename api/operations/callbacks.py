"""Operations on callbacks."""

from datetime import datetime
from typing import Literal

from accounts.roles import Permission
from api.operations.operation import (
    Id,
    Input,
    Operation,
    Output,
    Page,
    Paged,
)


class Delivery(Output):
    """One callback and how it went."""

    id: str
    job_id: str
    url: str
    event: str
    state: Literal["owed", "delivered", "given_up"]
    attempts: int
    last_status: int | None
    last_error: str
    due_at: datetime
    created_at: datetime
    delivered_at: datetime | None


class ListDeliveries(Paged):
    """Callbacks that match."""

    job_id: Id | None = None
    state: Literal["owed", "delivered", "given_up"] | None = None


class DeliveryId(Input):
    """One callback."""

    id: Id


CALLBACKS_LIST = Operation(
    name="callbacks.list",
    method="GET",
    path="/callbacks",
    summary="List callbacks and how they went, newest first.",
    input=ListDeliveries,
    output=Page[Delivery],
    permission=Permission("project", "read"),
)


CALLBACKS_REPLAY = Operation(
    name="callbacks.replay",
    method="POST",
    path="/callbacks/{id}/replay",
    summary="Send a callback once more, under the same id.",
    input=DeliveryId,
    output=Delivery,
    permission=Permission("model", "execute"),
    status=202,
    cost="light",
    problems=("not-found",),
)


OPERATIONS = (CALLBACKS_LIST, CALLBACKS_REPLAY)
