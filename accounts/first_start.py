"""The first start of an instance: its first organization, its owner, and the owner's key."""

import os
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, select

from accounts import audit, keys, organizations, sessions, users
from accounts.secret import InstanceSecret
from accounts.tables import audit as audit_table
from accounts.tables import memberships
from resources.database.control import Control

SIGN_IN = "account.sign-in"
"""What the audit calls a sign-in."""


class Owner(NamedTuple):
    """The user who has every right in the first organization."""

    user_id: str
    organization: str


def owner(control: Control, secret: InstanceSecret, organization: str, key_file: Path) -> Owner:
    """The owner; made at the first start, with an admin key in a file of mode 0600."""
    try:
        return _owner(control, secret, organization, key_file)
    except organizations.NameTaken:
        # Another gateway has started for the first time at the same moment, and was faster.
        return _owner(control, secret, organization, key_file)


def admin_key(control: Control, secret: InstanceSecret, owner: Owner) -> str:
    """Another admin key of the owner, for who has access to this machine or pod."""
    with control.write() as connection:
        key, token = _admin_key(connection, secret, owner, "admin key of the command line")
        audit.record(
            connection,
            organization=owner.organization,
            actor="orrery",
            action="keys.create",
            object=key.id,
            reason="orrery admin-key",
            after={"owner": owner.user_id, "role": "admin"},
        )
    return token


def _owner(control: Control, secret: InstanceSecret, organization: str, key_file: Path) -> Owner:
    with control.write() as connection:
        first = organizations.first(connection)
        if first is not None:
            membership = connection.execute(
                select(memberships.c.user_id)
                .where(memberships.c.organization_id == first.id, memberships.c.role == "admin")
                .order_by(memberships.c.user_id)
                .limit(1)
            ).scalar_one()
            return Owner(membership, first.id)
        first = organizations.create(connection, organization, organization)
        user = users.create(connection, "person", "owner")
        users.join(connection, user.id, first.id, "admin")
        made = Owner(user.id, first.id)
        key, token = _admin_key(connection, secret, made, "admin key of the first start")
        audit.record(
            connection,
            organization=first.id,
            actor="orrery",
            action="organizations.create",
            object=first.id,
            reason="first start",
            after={"organization": first.id, "owner": user.id, "key": key.id},
        )
        # Written before the commit: a crash in between leaves a key that opens nothing, and never
        # an owner whose key is lost.
        _write_private(key_file, token)
        return made


def _admin_key(
    connection: Connection, secret: InstanceSecret, owner: Owner, name: str
) -> tuple[keys.ApiKey, str]:
    return keys.create(
        connection,
        secret,
        organization=owner.organization,
        user_id=owner.user_id,
        name=name,
        role="admin",
        agents_may_change=True,
    )


def was_entered(control: Control) -> bool:
    """Whether anybody has ever signed in here."""
    with control.read() as connection:
        entered = select(audit_table.c.number).where(audit_table.c.action == SIGN_IN).limit(1)
        return connection.execute(entered).first() is not None


def sign_in_link(control: Control, secret: InstanceSecret, owner: Owner, url: str) -> str:
    """Address that signs the owner in, once, within the hour."""
    content = {"user_id": owner.user_id, "organization": owner.organization}
    with control.write() as connection:
        token = sessions.offer(connection, secret, "link", content, sessions.LINK_S)
    return f"{url}/sign-in?token={token}"


def _write_private(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    # A crash may have left a draft; only a file that O_EXCL creates surely has the mode 0600.
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    draft.replace(path)
