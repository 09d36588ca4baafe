"""Browser sessions, and the one-time secrets that lead to one."""

import time
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from accounts.principal import Principal
from accounts.secret import InstanceSecret, new_token
from accounts.tables import memberships, sessions, sign_ins, users
from accounts.users import sight

SESSION_S = 12 * 3600.0
LINK_S = 3600.0
ATTEMPT_S = 600.0
SignIn = Literal["link", "oidc", "saml"]


class SessionEnded(Exception):
    """The session is unknown, has expired, or its user may no longer enter."""


class SignInRefused(Exception):
    """A one-time secret that is unknown, too old, or was used before."""


class Session(NamedTuple):
    """A signed-in browser."""

    token: str
    expires_at: float


def start(
    connection: Connection, secret: InstanceSecret, user_id: str, organization: str
) -> Session:
    """A new session; old ones of anybody are tidied away."""
    now = time.time()
    connection.execute(delete(sessions).where(sessions.c.expires_at < now))
    session = Session(new_token("session"), now + SESSION_S)
    values = {
        "digest": secret.digest(session.token),
        "user_id": user_id,
        "organization_id": organization,
        "expires_at": session.expires_at,
        "created_at": now,
    }
    connection.execute(insert(sessions).values(values))
    return session


def end(connection: Connection, digest: str) -> None:
    """Sign out."""
    connection.execute(delete(sessions).where(sessions.c.digest == digest))


def principal(connection: Connection, digest: str) -> tuple[Principal, float]:
    """Who is signed in, and until when. Raises SessionEnded."""
    row = connection.execute(
        select(
            sessions.c.user_id,
            sessions.c.organization_id,
            sessions.c.expires_at,
            users.c.name,
            users.c.disabled_at,
            memberships.c.role,
        )
        .join(users, users.c.id == sessions.c.user_id)
        .join(
            memberships,
            (memberships.c.user_id == sessions.c.user_id)
            & (memberships.c.organization_id == sessions.c.organization_id),
        )
        .where(sessions.c.digest == digest)
    ).first()
    if row is None or row.expires_at <= time.time() or row.disabled_at is not None:
        raise SessionEnded("the session has ended; sign in again")
    holder = Principal(
        user_id=row.user_id,
        name=row.name,
        organization=row.organization_id,
        role=row.role,
        sight=sight(connection, row.user_id, row.organization_id),
    )
    return holder, row.expires_at


def offer(
    connection: Connection,
    secret: InstanceSecret,
    kind: SignIn,
    content: dict[str, Any],
    within_s: float,
    token: str | None = None,
) -> str:
    """A one-time secret; its content is given once, to the first request that has it in time."""
    token = token or new_token(kind)
    # Used and expired rows are kept for a while, so that `take` can say why it refuses them.
    connection.execute(delete(sign_ins).where(sign_ins.c.expires_at < time.time() - SESSION_S))
    values = {
        "digest": secret.digest(token),
        "kind": kind,
        "content": content,
        "expires_at": time.time() + within_s,
    }
    connection.execute(insert(sign_ins).values(values))
    return token


def take(
    connection: Connection, secret: InstanceSecret, kind: SignIn, token: str
) -> dict[str, Any]:
    """Content of the one-time secret, which is used up now. Raises SignInRefused."""
    now = time.time()
    mine = (sign_ins.c.digest == secret.digest(token)) & (sign_ins.c.kind == kind)
    row = connection.execute(select(sign_ins).where(mine)).first()
    if row is None:
        raise SignInRefused("this sign-in is not known here; start again")
    if row.expires_at <= now:
        raise SignInRefused("this sign-in is too old; start again")
    # Two requests can read the same unused row; this update succeeds for only one of them.
    taken = connection.execute(
        update(sign_ins).where(mine, sign_ins.c.used_at.is_(None)).values(used_at=now)
    )
    if taken.rowcount != 1:
        raise SignInRefused("this sign-in was used before; start again")
    return row.content
