"""What operations take and answer: accounts.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from orrery.answers.jobs import BudgetAccount


@dataclass(frozen=True, kw_only=True)
class Me:
    """Who asks, as the platform sees it."""

    user_id: str
    name: str
    organization: str
    role: Literal["admin", "manager", "user", "viewer"]
    projects: list[str] | None
    """Projects the key is confined to; null for all."""
    key_id: str | None
    agents_may_change: bool
    organizations: list[str]
    """Organizations the user belongs to."""
    permissions: list[str]
    budgets: list[BudgetAccount] = field(default_factory=list)
    """How the budgets of the key stand; empty without one."""


@dataclass(frozen=True, kw_only=True)
class Organization:
    """A group of people and what they own together."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewOrganization:
    """An organization as its maker sees it once."""

    id: str
    name: str
    created_at: datetime
    key: str = field(repr=False)
    """Admin key of the new organization; it cannot be shown again."""


@dataclass(frozen=True, kw_only=True)
class CallbackSecret:
    """What receivers verify callbacks with (Standard Webhooks); shown once."""

    secret: str = field(repr=False)
    generation: int


@dataclass(frozen=True, kw_only=True)
class User:
    """A member of the organization."""

    id: str
    kind: Literal["person", "service"]
    name: str
    email: str | None
    role: Literal["admin", "manager", "user", "viewer"]
    has_signed_in: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class SignInLink:
    """A link that signs a person in, once."""

    url: str = field(repr=False)
    expires_at: datetime
