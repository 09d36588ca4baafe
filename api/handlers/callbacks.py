"""Callbacks."""

from api.context import Call
from api.handlers.jobs import found_job, moment
from api.operations import callbacks as ops
from api.operations.operation import Page
from api.paging import key_of, page_of
from api.problems import not_found
from scheduler import deliveries
from scheduler.deliveries import Delivery


def list_callbacks(call: Call, request: ops.ListDeliveries) -> Page[ops.Delivery]:
    """Callbacks of the organization."""
    with call.platform.control.read() as connection:
        rows = deliveries.listed(
            connection,
            call.principal.organization,
            job_id=request.job_id,
            projects=_reached(call),
            state=request.state,
            after=key_of(request.cursor),
            limit=request.limit + 1,
        )
    return page_of(rows, request.limit, lambda d: d.id, _delivery)


def replay_callback(call: Call, request: ops.DeliveryId) -> ops.Delivery:
    """Send a callback once more."""
    with call.platform.control.write() as connection:
        delivery = deliveries.find(connection, call.principal.organization, request.id)
        if delivery is None:
            raise not_found("callback", request.id)
        found_job(call, delivery.job_id)
        call.begin_change()
        deliveries.replay(connection, request.id)
        call.audited(connection, f"callback/{request.id}")
        again = deliveries.find(connection, call.principal.organization, request.id)
    call.platform.work_is_waiting()
    assert again
    return _delivery(again)


def _reached(call: Call) -> list[str] | None:
    principal = call.principal
    if principal.projects is None:
        return None
    qualified = call.platform.projects.qualified
    return [qualified(principal.organization, project) for project in principal.projects]


def _delivery(delivery: Delivery) -> ops.Delivery:
    return ops.Delivery(
        id=delivery.id,
        job_id=delivery.job_id,
        url=delivery.url,
        event=delivery.event,
        state=delivery.state,
        attempts=delivery.attempts,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        due_at=moment(delivery.due_at),
        created_at=moment(delivery.created_at),
        delivered_at=moment(delivery.delivered_at),
    )
