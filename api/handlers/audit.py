"""The audit."""

import json
from typing import Any

from accounts import audit
from accounts.audit import ChainBroken
from api.context import Call
from api.handlers.jobs import moment
from api.operations import audit as ops
from api.operations.operation import Nothing, Page
from api.paging import cursor_of, key_of


def search_audit(call: Call, request: ops.SearchAudit) -> Page[ops.AuditEntry]:
    """Entries of the organization."""
    with call.platform.control.read() as connection:
        entries = audit.search(
            connection,
            call.principal.organization,
            actor=request.actor,
            action=request.action,
            object=request.object,
            decision=request.decision,
            since=request.since.timestamp() if request.since else None,
            until=request.until.timestamp() if request.until else None,
            before_number=key_of(request.cursor, int),
            limit=request.limit,
        )
    # A page may be empty and still have a next one: older entries were not looked through yet.
    return Page(
        items=[_entry(entry) for entry in entries.entries],
        next_cursor=cursor_of(entries.next) if entries.next is not None else None,
    )


def verify_audit(call: Call, _: Nothing) -> ops.AuditVerdict:
    """Whether the chain holds."""
    with call.platform.control.read() as connection:
        try:
            chain = audit.verify(connection)
        except ChainBroken as error:
            return ops.AuditVerdict(holds=False, message=str(error))
    if call.principal.organization != call.platform.first_organization:
        # The chain is one for all organizations; how long it is concerns nobody else.
        return ops.AuditVerdict(holds=True, message="every entry is bound to the one before")
    text = f"{chain.entries} entries, each bound to the one before"
    return ops.AuditVerdict(holds=True, message=text, entries=chain.entries, head=chain.head)


def _entry(entry: audit.AuditEntry) -> ops.AuditEntry:
    return ops.AuditEntry(
        number=entry.number,
        at=moment(entry.at),
        actor=entry.actor,
        on_behalf_of=entry.on_behalf_of,
        action=entry.action,
        object=entry.object,
        decision=entry.decision,
        reason=entry.reason,
        before=_read(entry.before),
        after=_read(entry.after),
        hash=entry.hash,
    )


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)
