"""Operations on the audit."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from accounts.roles import Permission
from api.operations.operation import (
    Nothing,
    Operation,
    Output,
    Page,
    Paged,
)


class SearchAudit(Paged):
    """Entries that match; words match anywhere in the text."""

    actor: Annotated[str, StringConstraints(max_length=200)] | None = None
    action: Annotated[str, StringConstraints(max_length=200)] | None = None
    object: Annotated[str, StringConstraints(max_length=200)] | None = None
    decision: Literal["allowed", "denied"] | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditEntry(Output):
    """Who did what, on whose behalf, and why it was allowed or not."""

    number: int
    at: datetime
    actor: str
    on_behalf_of: str | None
    action: str
    object: str
    decision: Literal["allowed", "denied"]
    reason: str
    before: Any
    after: Any
    hash: str


class AuditVerdict(Output):
    """Whether the chain holds."""

    holds: bool
    message: str
    entries: int | None = None
    head: str | None = None
    """Hash of the newest entry; keep it elsewhere to notice later if the end was cut off."""


AUDIT_SEARCH = Operation(
    name="audit.search",
    method="GET",
    path="/audit",
    summary="Search who did what, newest first.",
    input=SearchAudit,
    output=Page[AuditEntry],
    permission=Permission("audit", "read"),
)


AUDIT_VERIFY = Operation(
    name="audit.verify",
    method="GET",
    path="/audit/verification",
    summary="Check that the audit was not changed after it was written.",
    input=Nothing,
    output=AuditVerdict,
    permission=Permission("audit", "execute"),
)


OPERATIONS = (AUDIT_SEARCH, AUDIT_VERIFY)
