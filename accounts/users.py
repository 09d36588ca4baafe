"""Users: people who sign in, and service accounts that only have keys."""

import time
from functools import reduce
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from accounts import organizations
from accounts.organizations import NameTaken
from accounts.roles import Role, UserKind, weaker
from accounts.tables import keys, memberships, sessions, users
from resources.database.control import new_id


class User(NamedTuple):
    """A person or a service account."""

    id: str
    kind: UserKind
    name: str
    email: str | None
    subject: str | None
    """Issuer and name at the identity provider, once signed in through one."""
    disabled_at: float | None
    created_at: float


class Member(NamedTuple):
    """A user in an organization."""

    user: User
    role: Role


class LastAdmin(Exception):
    """The organization would be left without anybody who may administer it."""


def create(
    connection: Connection,
    kind: UserKind,
    name: str,
    email: str | None = None,
    subject: str | None = None,
) -> User:
    """The new user, in no organization yet. Raises NameTaken when the address is known."""
    address = email.lower() if email else None
    user = User(new_id("user"), kind, name, address, subject, None, time.time())
    try:
        with connection.begin_nested():
            connection.execute(insert(users).values(user._asdict()))
    except IntegrityError:
        raise NameTaken(f"a user with the address {email} exists already") from None
    return user


def find(connection: Connection, user_id: str) -> User | None:
    """The user, or None."""
    row = connection.execute(select(users).where(users.c.id == user_id)).first()
    return User(*row) if row else None


def by_email(connection: Connection, email: str) -> User | None:
    """The user with the address, or None."""
    row = connection.execute(select(users).where(users.c.email == email.lower())).first()
    return User(*row) if row else None


def signed_in(
    connection: Connection,
    subject: str,
    name: str,
    email: str | None,
    *,
    email_is_verified: bool,
    organization: str,
    role: Role,
) -> User:
    """The user behind an identity provider's subject: known, invited by address, or new.

    An address links to an invited user only when the provider says that it has verified it.
    A new user joins the organization with the role.
    """
    row = connection.execute(select(users).where(users.c.subject == subject)).first()
    if row:
        return User(*row)
    invited = by_email(connection, email) if email and email_is_verified else None
    if invited and invited.subject is None and invited.kind == "person":
        linked = update(users).where(users.c.id == invited.id)
        connection.execute(linked.values(subject=subject, name=name))
        return invited._replace(subject=subject, name=name)
    # An address that is not proven would keep its owner from being invited.
    own = email if email_is_verified and invited is None else None
    user = create(connection, "person", name, own, subject)
    join(connection, user.id, organization, role)
    return user


def join(connection: Connection, user_id: str, organization: str, role: Role) -> None:
    """Make the user a member with the role, or change its role.

    Raises LastAdmin when nobody would be left to administer the organization.
    """
    before = role_of(connection, user_id, organization)
    if before is None:
        values = {"user_id": user_id, "organization_id": organization, "role": role}
        connection.execute(insert(memberships).values(values))
        return
    if before == "admin" and role != "admin":
        _keep_an_admin(connection, organization)
    connection.execute(
        update(memberships).where(_membership(user_id, organization)).values(role=role)
    )


def leave(connection: Connection, user_id: str, organization: str) -> None:
    """End the membership, and with it the user's keys and sessions there. Raises LastAdmin."""
    if role_of(connection, user_id, organization) == "admin":
        _keep_an_admin(connection, organization)
    connection.execute(delete(memberships).where(_membership(user_id, organization)))
    held = (keys.c.user_id == user_id) & (keys.c.organization_id == organization)
    connection.execute(
        update(keys).where(held, keys.c.revoked_at.is_(None)).values(revoked_at=time.time())
    )
    held = (sessions.c.user_id == user_id) & (sessions.c.organization_id == organization)
    connection.execute(delete(sessions).where(held))


def role_of(connection: Connection, user_id: str, organization: str) -> Role | None:
    """The user's role in the organization, or None for a stranger."""
    query = select(memberships.c.role).where(_membership(user_id, organization))
    return connection.execute(query).scalar()


def members(
    connection: Connection, organization: str, after: str | None = None, limit: int = 1_000
) -> list[Member]:
    """Members of the organization, in the order in which they were created."""
    query = (
        select(users, memberships.c.role)
        .join(memberships, memberships.c.user_id == users.c.id)
        .where(memberships.c.organization_id == organization)
        .order_by(users.c.id)
        .limit(limit)
    )
    if after:
        query = query.where(users.c.id > after)
    return [Member(User(*row[:-1]), row[-1]) for row in connection.execute(query)]


def sight(connection: Connection, user_id: str, organization: str) -> Role | None:
    """The user's role over the whole instance, seen from the organization; None without one.

    Somebody of the first organization who belongs to every other, too, has the weakest of the
    roles there. From elsewhere nobody does: admins of another organization can make keys and
    links for its members, and must not reach beyond it.
    """
    first = organizations.first(connection)
    if first is None or first.id != organization:
        return None
    roles = connection.execute(
        select(memberships.c.role).where(memberships.c.user_id == user_id)
    ).scalars()
    held: list[Role] = list(roles)
    if len(held) != organizations.count(connection):
        return None
    return reduce(weaker, held)


def _membership(user_id: str, organization: str) -> ColumnElement[bool]:
    return (memberships.c.user_id == user_id) & (memberships.c.organization_id == organization)


def _keep_an_admin(connection: Connection, organization: str) -> None:
    admins = connection.execute(
        select(func.count())
        .select_from(memberships)
        .where(memberships.c.organization_id == organization, memberships.c.role == "admin")
    ).scalar_one()
    if admins <= 1:
        raise LastAdmin(
            f"{organization} has no other admin; give somebody else the role admin first"
        )
