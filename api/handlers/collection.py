"""Collections: asked for here, and carried out by processes of their own."""

from sqlalchemy import Connection

from api.context import Call
from api.handlers.jobs import moment
from api.operations import collection as ops
from api.operations.operation import Page
from api.paging import key_of, page_of
from api.problems import Problem, not_found
from resources.collection.records import entries, records
from resources.collection.records.entries import Entry, Total
from resources.collection.records.records import Record

WAIT = "Look at `collections.get` until it is {}."


def plan(call: Call, request: ops.PlanCollection) -> ops.Collection:
    """Have a plan made."""
    projects, organization = call.platform.projects, call.principal.organization
    named = projects.find(call.principal, request.project).name if request.project else None
    with call.platform.control.write() as connection:
        if going := records.under_way(connection, organization):
            text = f"collection {going.id} is {going.state}"
            raise Problem("conflict", text, todo=WAIT.format("planned, done or failed"))
        call.begin_change()
        record = records.create(
            connection, str(call.principal), organization=organization, project=named
        )
        call.audited(connection, f"collection/{record.id}", after={"project": request.project})
    call.platform.work_is_waiting()
    return _view(call, record, [])


def run(call: Call, request: ops.CollectionId) -> ops.Collection:
    """Have removed what is planned."""
    with call.platform.control.write() as connection:
        record = _found(connection, call, request.id)
        if record.organization_id is None:
            text = f"collection {record.id} is of all organizations, and belongs to `orrery gc`"
            raise Problem("conflict", text, todo="Plan one with `collections.plan`.")
        if record.state != "planned":
            text = f"collection {record.id} is {record.state}, and was to be planned"
            todo = "Plan another one." if record.ended_at else WAIT.format("planned")
            raise Problem("conflict", text, todo=todo)
        call.begin_change()
        records.begin(connection, record.id)
        (before,) = _totals(connection, call, [record])
        call.audited(
            connection,
            f"collection/{record.id}",
            before={"planned": [total._asdict() for total in before if total.outcome == "chosen"]},
        )
    call.platform.work_is_waiting()
    return get(call, request)


def list_collections(call: Call, request: ops.ListCollections) -> Page[ops.Collection]:
    """What was planned and removed."""
    with call.platform.control.read() as connection:
        rows = records.listed(
            connection,
            call.principal.organization,
            before=key_of(request.cursor),
            limit=request.limit + 1,
        )
        totals = dict(zip(rows, _totals(connection, call, rows), strict=True))
    return page_of(rows, request.limit, lambda r: r.id, lambda r: _view(call, r, totals[r]))


def get(call: Call, request: ops.CollectionId) -> ops.Collection:
    """How far the collection is."""
    with call.platform.control.read() as connection:
        record = _found(connection, call, request.id)
        (totals,) = _totals(connection, call, [record])
    return _view(call, record, totals)


def list_entries(call: Call, request: ops.ListEntries) -> Page[ops.Entry]:
    """What a collection has chosen, and what stays."""
    qualified = call.platform.projects.qualified
    organization = call.principal.organization
    with call.platform.control.read() as connection:
        _found(connection, call, request.id)
        rows = entries.listed(
            connection,
            request.id,
            organization,
            project=qualified(organization, request.project) if request.project else None,
            outcome=request.outcome,
            kind=request.kind,
            after=key_of(request.cursor, int),
            limit=request.limit + 1,
        )
    return page_of(rows, request.limit, lambda entry: entry.number, lambda e: _entry(call, e))


def planned_sentences(call: Call, id: str) -> list[str]:
    """What the run of a collection would remove, in sentences."""
    with call.platform.control.read() as connection:
        record = _found(connection, call, id)
        (totals,) = _totals(connection, call, [record])
    chosen = [total for total in totals if total.outcome == "chosen"]
    sentences = [f"{t.kind}: {t.things} go, with {t.bytes} bytes" for t in chosen]
    return [*(sentences or ["nothing goes"]), "what has become needed by then stays"]


def _found(connection: Connection, call: Call, id: str) -> Record:
    record = records.find(connection, id, call.principal.organization)
    if record is None:
        raise not_found("collection", id)
    return record


def _totals(connection: Connection, call: Call, rows: list[Record]) -> list[list[Total]]:
    ids = [record.id for record in rows]
    found = entries.totals(connection, ids, call.principal.organization)
    return [found[id] for id in ids]


def _view(call: Call, record: Record, totals: list[Total]) -> ops.Collection:
    return ops.Collection(
        id=record.id,
        state=record.state,
        project=call.platform.projects.shown(record.project) if record.project else None,
        asked_by=record.asked_by,
        message=record.message,
        created_at=moment(record.created_at),
        planned_at=moment(record.planned_at),
        began_at=moment(record.began_at),
        ended_at=moment(record.ended_at),
        totals=[ops.Total(**total._asdict()) for total in totals],
    )


def _entry(call: Call, entry: Entry) -> ops.Entry:
    return ops.Entry(
        project=call.platform.projects.shown(entry.project) or None,
        kind=entry.kind,
        name=entry.name or None,
        outcome=entry.outcome,
        reason=entry.reason,
        things=entry.things,
        bytes=entry.bytes,
        oldest=moment(entry.oldest),
        newest=moment(entry.newest),
    )
