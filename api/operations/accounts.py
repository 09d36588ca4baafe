"""Operations on organizations and their members."""

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from accounts.roles import Permission, Role, UserKind
from api.operations.jobs import BudgetAccount
from api.operations.operation import (
    Done,
    Id,
    Input,
    Nothing,
    Operation,
    Output,
    Page,
    Paged,
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
    budgets: list[BudgetAccount] = []
    """How the budgets of the key stand; empty without one."""


class Organization(Output):
    """A group of people and what they own together."""

    id: str
    name: str
    created_at: datetime


class NewOrganization(Organization):
    """An organization as its maker sees it once."""

    key: str
    """Admin key of the new organization; it cannot be shown again."""


class ListOrganizations(Paged):
    """A page of organizations."""


class CreateOrganization(Input):
    """A new organization; the caller becomes its first admin."""

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
    summary="Create an organization, whose first admin you are; its admin key is shown once.",
    input=CreateOrganization,
    output=NewOrganization,
    permission=Permission("organization", "create"),
    status=201,
    cost="light",
    problems=("conflict",),
    for_agents=False,
    shows_secret=True,
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
    problems=("conflict",),
    for_agents=False,
    shows_secret=True,
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
    shows_secret=True,
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
)
