"""Operations on API keys."""

from datetime import datetime

from pydantic import Field

from accounts.roles import Permission, Role
from api.operations.jobs import BudgetAccount
from api.operations.operation import (
    Id,
    Input,
    Operation,
    Output,
    Page,
    Paged,
    ShortName,
    Text,
)


class ApiKey(Output):
    """What is known of a key."""

    id: str
    name: str
    user_id: str
    role: Role
    projects: list[str] | None
    agents_may_change: bool
    budget_gpu_h: float | None
    budget_money: float | None
    used_gpu_h: float
    """GPU-hours that its jobs have used."""
    budgets: list[BudgetAccount] = []
    """How its budgets stand; empty without one."""
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


class NewApiKey(ApiKey):
    """A key as it is shown once."""

    key: str
    """Send it as `Authorization: Bearer KEY`; it cannot be shown again."""


class ListKeys(Paged):
    """A page of keys."""


class CreateKey(Input):
    """A key to make. It never reaches further than its user does."""

    name: Text
    role: Role = "viewer"
    user_id: Id | None = None
    """Holder of the key, such as a service account; by default the caller."""
    projects: list[ShortName] | None = Field(default=None, max_length=100)
    """Projects it is confined to; by default all of the organization."""
    agents_may_change: bool = False
    """Whether agent tools called with it may change anything; by default they only read."""
    expires_in_days: float | None = Field(default=90, gt=0, le=3650)
    """Null for a key that does not expire."""
    budget_gpu_h: float | None = Field(default=None, ge=0, le=1e9)
    budget_money: float | None = Field(default=None, ge=0, le=1e12)


class KeyId(Input):
    """One key."""

    id: Id


KEYS_LIST = Operation(
    name="keys.list",
    method="GET",
    path="/keys",
    summary="List API keys: your own, or all of the organization if you manage it.",
    input=ListKeys,
    output=Page[ApiKey],
    permission=Permission("key", "read"),
)


KEYS_CREATE = Operation(
    name="keys.create",
    method="POST",
    path="/keys",
    summary="Make an API key; it is shown once.",
    input=CreateKey,
    output=NewApiKey,
    permission=Permission("key", "create"),
    status=201,
    cost="light",
    problems=("not-found", "conflict"),
    for_agents=False,
    shows_secret=True,
)


KEYS_REVOKE = Operation(
    name="keys.revoke",
    method="DELETE",
    path="/keys/{id}",
    summary="End an API key now.",
    input=KeyId,
    output=ApiKey,
    permission=Permission("key", "delete"),
    cost="light",
    problems=("not-found",),
)


OPERATIONS = (KEYS_LIST, KEYS_CREATE, KEYS_REVOKE)
