"""What operations take and answer: audit.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
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


@dataclass(frozen=True, kw_only=True)
class AuditVerdict:
    """Whether the chain holds."""

    holds: bool
    message: str
    entries: int | None = None
    head: str | None = None
    """Hash of the newest entry; keep it elsewhere to notice later if the end was cut off."""
