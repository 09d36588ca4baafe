"""Organizations: who shares projects, jobs and keys; nobody outside one sees that they exist."""

import re
import time
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from accounts.tables import memberships, organizations

# No double hyphen: it separates an organization from its project (api.projects.BETWEEN).
PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
LONGEST = 24


class Organization(NamedTuple):
    """A group of people and what they own together."""

    id: str
    name: str
    callback_generation: int
    created_at: float


class NameTaken(Exception):
    """Another one has this name."""


def create(connection: Connection, id: str, name: str) -> Organization:
    """The new organization. Raises NameTaken, or ValueError for a name that is none."""
    if not re.fullmatch(PATTERN, id) or len(id) > LONGEST:
        raise ValueError(
            f"got organization {id!r}, expected at most {LONGEST} small letters, digits and "
            "single hyphens"
        )
    organization = Organization(id, name, 1, time.time())
    try:
        # A savepoint: after a failed insert PostgreSQL refuses the rest of the transaction.
        with connection.begin_nested():
            connection.execute(insert(organizations).values(organization._asdict()))
    except IntegrityError:
        raise NameTaken(f"organization {id!r} exists already; choose another name") from None
    return organization


def find(connection: Connection, id: str) -> Organization | None:
    """The organization, or None."""
    row = connection.execute(select(organizations).where(organizations.c.id == id)).first()
    return Organization(*row) if row else None


def of_user(connection: Connection, user_id: str) -> list[Organization]:
    """Organizations that the user belongs to, oldest first."""
    mine = select(memberships.c.organization_id).where(memberships.c.user_id == user_id)
    query = (
        select(organizations)
        .where(organizations.c.id.in_(mine))
        .order_by(organizations.c.created_at)
    )
    return [Organization(*row) for row in connection.execute(query)]


def first(connection: Connection) -> Organization | None:
    """The organization that owns the projects of the checkout: the oldest."""
    row = connection.execute(
        select(organizations).order_by(organizations.c.created_at).limit(1)
    ).first()
    return Organization(*row) if row else None


def count(connection: Connection) -> int:
    """How many organizations share this instance."""
    return connection.execute(select(func.count()).select_from(organizations)).scalar_one()


def rotate_callback_secret(connection: Connection, id: str) -> int:
    """Generation of the new secret; callbacks signed from now on use it."""
    connection.execute(
        update(organizations)
        .where(organizations.c.id == id)
        .values(callback_generation=organizations.c.callback_generation + 1)
    )
    organization = find(connection, id)
    assert organization
    return organization.callback_generation
