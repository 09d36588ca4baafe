"""What operations take and answer: callbacks.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Delivery:
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
