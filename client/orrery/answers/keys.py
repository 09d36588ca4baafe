"""What operations take and answer: keys.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from orrery.answers.jobs import BudgetAccount


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """What is known of a key."""

    id: str
    name: str
    user_id: str
    role: Literal["admin", "manager", "user", "viewer"]
    projects: list[str] | None
    agents_may_change: bool
    budget_gpu_h: float | None
    budget_money: float | None
    used_gpu_h: float
    """GPU-hours that its jobs have used."""
    budgets: list[BudgetAccount] = field(default_factory=list)
    """How its budgets stand; empty without one."""
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewApiKey:
    """A key as it is shown once."""

    id: str
    name: str
    user_id: str
    role: Literal["admin", "manager", "user", "viewer"]
    projects: list[str] | None
    agents_may_change: bool
    budget_gpu_h: float | None
    budget_money: float | None
    used_gpu_h: float
    """GPU-hours that its jobs have used."""
    budgets: list[BudgetAccount] = field(default_factory=list)
    """How its budgets stand; empty without one."""
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    key: str = field(repr=False)
    """Send it as `Authorization: Bearer KEY`; it cannot be shown again."""
