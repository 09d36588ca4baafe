"""Organizations and their members."""

import time

from sqlalchemy import Connection

from accounts import keys, organizations, sessions, users
from accounts.organizations import NameTaken
from accounts.roles import ACTIONS, RESOURCES, ROLES, Permission, Role
from accounts.users import LastAdmin, Member
from api.context import Call
from api.handlers.jobs import budget_views, moment
from api.jobs.requests import budget_of
from api.operations import accounts as ops
from api.operations.operation import Done, Nothing, Page
from api.paging import key_of, page_in_order, page_of
from api.problems import Problem, invalid, not_found


def me(call: Call, _: Nothing) -> ops.Me:
    """Who asks."""
    principal = call.principal
    with call.platform.control.read() as connection:
        mine = organizations.of_user(connection, principal.user_id)
        budget = budget_of(call, connection)
        standing = budget_views(call, connection, principal.key_id, budget)
    held = [Permission(r, a) for r in RESOURCES for a in ACTIONS]
    return ops.Me(
        user_id=principal.user_id,
        name=principal.name,
        organization=principal.organization,
        role=principal.role,
        projects=sorted(principal.projects) if principal.projects is not None else None,
        key_id=principal.key_id,
        agents_may_change=principal.agents_may_change,
        organizations=[o.id for o in mine],
        permissions=[str(p) for p in held if principal.may(p)],
        budgets=standing,
    )


def list_organizations(call: Call, request: ops.ListOrganizations) -> Page[ops.Organization]:
    """Organizations of the caller."""
    with call.platform.control.read() as connection:
        mine = organizations.of_user(connection, call.principal.user_id)
    if call.principal.key_id is not None:
        mine = [o for o in mine if o.id == call.principal.organization]
    return page_in_order(sorted(mine), request, lambda o: o.id, _organization)


def create_organization(call: Call, request: ops.CreateOrganization) -> ops.NewOrganization:
    """A new organization with the caller as its admin, and a key to it."""
    if call.principal.organization != call.platform.first_organization:
        raise Problem("forbidden", "organizations are made from the first organization")
    with call.platform.control.write() as connection:
        try:
            organization = organizations.create(connection, request.id, request.name)
        except NameTaken as error:
            raise Problem("conflict", str(error)) from error
        except ValueError as error:
            raise invalid(str(error), "id") from error
        # A preview ends here with an exception, which rolls the transaction back.
        call.begin_change()
        users.join(connection, call.principal.user_id, organization.id, "admin")
        _, token = keys.create(
            connection,
            call.platform.secret,
            organization=organization.id,
            user_id=call.principal.user_id,
            name="admin key of the organization's start",
            role="admin",
            agents_may_change=call.principal.agents_may_change,
        )
        call.audited(
            connection, f"organization/{organization.id}", after={"name": organization.name}
        )
    call.platform.rights_changed()
    return ops.NewOrganization(key=token, **_organization(organization).model_dump())


def rotate_callback_secret(call: Call, _: Nothing) -> ops.CallbackSecret:
    """The organization's new secret."""
    organization = call.principal.organization
    call.begin_change()
    with call.platform.control.write() as connection:
        generation = organizations.rotate_callback_secret(connection, organization)
        call.audited(connection, f"organization/{organization}", after={"generation": generation})
    secret = call.platform.secret.callback_secret(organization, generation)
    return ops.CallbackSecret(secret=secret, generation=generation)


def list_users(call: Call, request: ops.ListUsers) -> Page[ops.User]:
    """Members of the organization."""
    with call.platform.control.read() as connection:
        members = users.members(
            connection, call.principal.organization, key_of(request.cursor), request.limit + 1
        )
    return page_of(members, request.limit, lambda m: m.user.id, _user)


def create_user(call: Call, request: ops.CreateUser) -> ops.User:
    """A new member, or somebody of another organization who becomes one."""
    require_reach(call, request.role)
    organization = call.principal.organization
    if request.kind == "service" and request.email:
        raise invalid("a service account has no address", "email")
    with call.platform.control.write() as connection:
        user = _invited(connection, request)
        if users.role_of(connection, user.id, organization) is not None:
            raise Problem("conflict", f"{request.email} is a member already")
        call.begin_change()
        users.join(connection, user.id, organization, request.role)
        after = {"name": user.name, "kind": user.kind, "role": request.role}
        call.audited(connection, f"user/{user.id}", after=after)
    # What another organization knows of the person is not told here.
    shown = user._replace(name=request.name, subject=None)
    return _user(Member(shown, request.role))


def _invited(connection: Connection, request: ops.CreateUser) -> users.User:
    known = users.by_email(connection, request.email) if request.email else None
    return known or users.create(connection, request.kind, request.name, request.email)


def change_user(call: Call, request: ops.ChangeUser) -> ops.User:
    """Another role for a member."""
    organization = call.principal.organization
    require_reach(call, request.role)
    with call.platform.control.write() as connection:
        member = member_of(call, connection, request.id)
        require_reach(call, member.role)
        try:
            users.join(connection, request.id, organization, request.role)
        except LastAdmin as error:
            raise Problem("conflict", str(error)) from error
        call.begin_change()
        before, after = {"role": member.role}, {"role": request.role}
        call.audited(connection, f"user/{request.id}", before=before, after=after)
    call.platform.rights_changed()
    return _user(member._replace(role=request.role))


def remove_user(call: Call, request: ops.UserId) -> Done:
    """A member leaves."""
    with call.platform.control.write() as connection:
        member = member_of(call, connection, request.id)
        try:
            users.leave(connection, request.id, call.principal.organization)
        except LastAdmin as error:
            raise Problem("conflict", str(error)) from error
        call.begin_change()
        call.audited(connection, f"user/{request.id}", before={"role": member.role})
    call.platform.rights_changed()
    return Done(message=f"{member.user.name} is no member any more; keys and sessions have ended")


def sign_in_link(call: Call, request: ops.UserId) -> ops.SignInLink:
    """A link for a member who is a person."""
    content = {"user_id": request.id, "organization": call.principal.organization}
    # The session that a link leads to may change whatever its user may change.
    if not call.principal.agents_may_change:
        raise Problem("forbidden", "a key whose agents only read makes no sign-in link")
    with call.platform.control.write() as connection:
        member = member_of(call, connection, request.id)
        if member.user.kind != "person":
            raise Problem("conflict", "a service account does not sign in", todo="Make it a key.")
        call.begin_change()
        secret = call.platform.secret
        token = sessions.offer(connection, secret, "link", content, sessions.LINK_S)
        call.audited(connection, f"user/{request.id}")
    url = f"{call.platform.settings.url}/sign-in?token={token}"
    return ops.SignInLink(url=url, expires_at=moment(time.time() + sessions.LINK_S))


def require_reach(call: Call, role: Role) -> None:
    """Nobody gives, or takes, more than they have themselves."""
    if ROLES.index(role) < ROLES.index(call.principal.role):
        raise Problem("forbidden", f"role {call.principal.role} does not reach as far as {role}")


def member_of(call: Call, connection: Connection, user_id: str) -> Member:
    """The member of the caller's organization. Raises the problem `not-found`."""
    role = users.role_of(connection, user_id, call.principal.organization)
    user = users.find(connection, user_id)
    if role is None or user is None:
        raise not_found("user", user_id)
    return Member(user, role)


def _organization(organization: organizations.Organization) -> ops.Organization:
    return ops.Organization(
        id=organization.id, name=organization.name, created_at=moment(organization.created_at)
    )


def _user(member: Member) -> ops.User:
    user = member.user
    return ops.User(
        id=user.id,
        kind=user.kind,
        name=user.name,
        email=user.email,
        role=member.role,
        has_signed_in=user.subject is not None,
        created_at=moment(user.created_at),
    )
