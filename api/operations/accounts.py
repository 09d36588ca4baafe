"""Operations on organizations, users, keys, audit and callbacks."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from accounts.roles import Permission, Role, UserKind
from api.operations.operation import (
    Done,
    Id,
    Input,
    Nothing,
    Operation,
    Output,
    Page,
    Paged,
    ShortName,
    Text,
)

OrganizationId = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=24)
]
Email = Annotated[
    str, StringConstraints(pattern=r"^[^@\s]{1,64}@[^@\s]+\.[^@\s]+$", max_length=320)
]


class Me(Output):
    """Who asks, as the platform sees it."""

    user_id: str
    name: str
    organization: str
    role: Role
    projects: list[str] | None
    """Projects the key is confined to; null for all."""
    key_id: str | None
    agents_may_change: bool
    organizations: list[str]
    """Organizations the user belongs to."""
    permissions: list[str]


class Organization(Output):
    """A group of people and what they own together."""

    id: str
    name: str
    created_at: datetime


class ListOrganizations(Paged):
    """A page of organizations."""


class CreateOrganization(Input):
    """A new organization; whoever creates it is its first admin."""

    id: OrganizationId
    name: Text


class CallbackSecret(Output):
    """What receivers verify callbacks with (Standard Webhooks); shown once."""

    secret: str
    generation: int


class User(Output):
    """A member of the organization."""

    id: str
    kind: UserKind
    name: str
    email: str | None
    role: Role
    has_signed_in: bool
    created_at: datetime


class ListUsers(Paged):
    """A page of members."""


class CreateUser(Input):
    """A person to invite, or a service account, which only has keys."""

    name: Text
    role: Role
    kind: UserKind = "person"
    email: Email | None = None
    """Links the person to their sign-in, once the identity provider has verified it."""


class ChangeUser(Input):
    """Another role for a member."""

    id: Id
    role: Role


class UserId(Input):
    """One member."""

    id: Id


class SignInLink(Output):
    """A link that signs a person in, once."""

    url: str
    expires_at: datetime


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
    """GPU-hours its jobs have used, and those under way are expected to."""
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
    """Holder of the key, such as a service account; by default whoever asks."""
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
    entries: int
    head: str
    """Hash of the newest entry; keep it elsewhere to notice later if the end was cut off."""


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


ME = Operation(
    name="account.me",
    method="GET",
    path="/me",
    summary="Show who you are here and what you may do.",
    input=Nothing,
    output=Me,
    permission=None,
)
ORGANIZATIONS_LIST = Operation(
    name="organizations.list",
    method="GET",
    path="/organizations",
    summary="List the organizations you belong to.",
    input=ListOrganizations,
    output=Page[Organization],
    permission=Permission("organization", "read"),
)
ORGANIZATIONS_CREATE = Operation(
    name="organizations.create",
    method="POST",
    path="/organizations",
    summary="Create an organization, whose first admin you are.",
    input=CreateOrganization,
    output=Organization,
    permission=Permission("organization", "create"),
    status=201,
    cost="light",
    problems=("conflict",),
)
CALLBACK_SECRET = Operation(
    name="organizations.rotate-callback-secret",
    method="POST",
    path="/organizations/callback-secret",
    summary="Make a new secret that your organization's callbacks are signed with.",
    input=Nothing,
    output=CallbackSecret,
    permission=Permission("organization", "update"),
    cost="light",
    for_agents=False,
)
USERS_LIST = Operation(
    name="users.list",
    method="GET",
    path="/users",
    summary="List the members of your organization.",
    input=ListUsers,
    output=Page[User],
    permission=Permission("user", "read"),
)
USERS_CREATE = Operation(
    name="users.create",
    method="POST",
    path="/users",
    summary="Invite a person, or make a service account.",
    input=CreateUser,
    output=User,
    permission=Permission("user", "create"),
    status=201,
    cost="light",
    problems=("conflict",),
)
USERS_CHANGE = Operation(
    name="users.change",
    method="PATCH",
    path="/users/{id}",
    summary="Give a member another role.",
    input=ChangeUser,
    output=User,
    permission=Permission("user", "update"),
    cost="light",
    problems=("not-found", "conflict"),
)
USERS_REMOVE = Operation(
    name="users.remove",
    method="DELETE",
    path="/users/{id}",
    summary="Remove a member; their keys and sessions end.",
    input=UserId,
    output=Done,
    permission=Permission("user", "delete"),
    cost="light",
    problems=("not-found", "conflict"),
)
USERS_LINK = Operation(
    name="users.sign-in-link",
    method="POST",
    path="/users/{id}/sign-in-link",
    summary="Make a one-time link that signs a member in.",
    input=UserId,
    output=SignInLink,
    permission=Permission("user", "delete"),
    status=201,
    cost="light",
    problems=("not-found", "conflict"),
    for_agents=False,
)
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
    problems=("not-found",),
    for_agents=False,
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
OPERATIONS = (
    ME,
    ORGANIZATIONS_LIST,
    ORGANIZATIONS_CREATE,
    CALLBACK_SECRET,
    USERS_LIST,
    USERS_CREATE,
    USERS_CHANGE,
    USERS_REMOVE,
    USERS_LINK,
    KEYS_LIST,
    KEYS_CREATE,
    KEYS_REVOKE,
    AUDIT_SEARCH,
    AUDIT_VERIFY,
    CALLBACKS_LIST,
    CALLBACKS_REPLAY,
)
