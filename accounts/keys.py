"""API keys: shown once, stored as a digest, scoped, expiring, revocable, with a budget."""

import time
from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from accounts.principal import Principal
from accounts.roles import Role, weaker
from accounts.secret import InstanceSecret, new_token
from accounts.tables import keys, memberships, users
from accounts.users import sight
from resources.database.control import new_id

PREFIX = "orr"


class ApiKey(NamedTuple):
    """What is known of a key; the key itself is known to its holder alone."""

    id: str
    organization_id: str
    user_id: str
    name: str
    digest: str
    role: Role
    projects: list[str] | None
    agents_may_change: bool
    budget_gpu_h: float | None
    budget_money: float | None
    expires_at: float | None
    revoked_at: float | None
    created_at: float


class KeyRefused(Exception):
    """A key that opens nothing: unknown, expired, revoked, or of a user who is disabled."""


def create(
    connection: Connection,
    secret: InstanceSecret,
    *,
    organization: str,
    user_id: str,
    name: str,
    role: Role,
    projects: list[str] | None = None,
    agents_may_change: bool = False,
    budget_gpu_h: float | None = None,
    budget_money: float | None = None,
    expires_at: float | None = None,
) -> tuple[ApiKey, str]:
    """What is known of the new key, and the key, which cannot be shown again."""
    token = new_token(PREFIX)
    key = ApiKey(
        new_id("key"),
        organization,
        user_id,
        name,
        secret.digest(token),
        role,
        sorted(set(projects)) if projects is not None else None,
        agents_may_change,
        budget_gpu_h,
        budget_money,
        expires_at,
        None,
        time.time(),
    )
    connection.execute(insert(keys).values(key._asdict()))
    return key, token


def revoke(connection: Connection, key_id: str) -> None:
    """End the key now; a second time changes nothing."""
    held = keys.c.id == key_id
    connection.execute(
        update(keys).where(held, keys.c.revoked_at.is_(None)).values(revoked_at=time.time())
    )


def find(connection: Connection, key_id: str) -> ApiKey | None:
    """The key, or None."""
    row = connection.execute(select(keys).where(keys.c.id == key_id)).first()
    return ApiKey(*row) if row else None


def listed(
    connection: Connection,
    organization: str,
    user_id: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[ApiKey]:
    """Keys of the organization, or of one of its users, newest first."""
    query = select(keys).where(keys.c.organization_id == organization)
    if user_id:
        query = query.where(keys.c.user_id == user_id)
    if after:
        # Ids are UUIDv7, so their order is the order of creation.
        query = query.where(keys.c.id < after)
    return [ApiKey(*r) for r in connection.execute(query.order_by(keys.c.id.desc()).limit(limit))]


_HOLDER = (
    select(keys, users.c.name, users.c.disabled_at, memberships.c.role)
    .join(users, users.c.id == keys.c.user_id)
    .join(
        memberships,
        (memberships.c.user_id == keys.c.user_id)
        & (memberships.c.organization_id == keys.c.organization_id),
    )
)


def principal(connection: Connection, digest: str) -> tuple[Principal, float | None]:
    """Who holds the key, and when the key expires. Raises KeyRefused.

    The key's role counts only as far as its user's role still reaches.
    """
    row = connection.execute(_HOLDER.where(keys.c.digest == digest)).first()
    if row is None:
        raise KeyRefused("the API key is not known; create one with POST /keys")
    *columns, name, disabled_at, role = row
    key = ApiKey(*columns)
    if key.revoked_at is not None:
        raise KeyRefused("the API key was revoked; create another with POST /keys")
    if key.expires_at is not None and key.expires_at <= time.time():
        raise KeyRefused("the API key has expired; create another with POST /keys")
    if disabled_at is not None:
        raise KeyRefused("the user of the API key is disabled; ask an admin of the organization")
    role = weaker(key.role, role)
    seen = sight(connection, key.user_id, key.organization_id) if key.projects is None else None
    holder = Principal(
        user_id=key.user_id,
        name=name,
        organization=key.organization_id,
        role=role,
        projects=None if key.projects is None else frozenset(key.projects),
        key_id=key.id,
        agents_may_change=key.agents_may_change,
        sight=weaker(role, seen) if seen else None,
    )
    return holder, key.expires_at
