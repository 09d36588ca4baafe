import time

import pytest
from sqlalchemy import text

from accounts import keys, users
from accounts.keys import KeyRefused
from accounts.roles import Permission


@pytest.fixture
def make(control, secret, owner):
    def created_key(**more):
        values = {"organization": "acme", "user_id": owner.id, "name": "k", "role": "admin"}
        with control.write() as connection:
            return keys.create(connection, secret, **{**values, **more})

    return created_key


def opened(control, secret, token):
    with control.read() as connection:
        return keys.principal(connection, secret.digest(token))[0]


def test_a_key_opens_as_its_user(control, secret, make, owner):
    _, token = make()
    principal = opened(control, secret, token)
    assert (principal.user_id, principal.organization, principal.role) == (
        owner.id,
        "acme",
        "admin",
    )


def test_the_key_itself_is_nowhere_in_the_database(control, secret, make):
    _, token = make()
    with control.read() as connection:
        rows = connection.execute(text("SELECT * FROM keys")).all()
    assert token not in str(rows)
    assert token.removeprefix("orr_") not in str(rows)


def test_a_digest_is_worth_nothing_under_another_secret(control, make):
    from accounts.secret import InstanceSecret

    _, token = make()
    with pytest.raises(KeyRefused, match="not known"):
        opened(control, InstanceSecret(b"x" * 32), token)


def test_an_expired_key_is_refused(control, secret, make):
    _, token = make(expires_at=time.time() - 1)
    with pytest.raises(KeyRefused, match="expired"):
        opened(control, secret, token)


def test_a_revoked_key_is_refused(control, secret, make):
    key, token = make()
    with control.write() as connection:
        keys.revoke(connection, key.id)
    with pytest.raises(KeyRefused, match="revoked"):
        opened(control, secret, token)


def test_a_key_reaches_no_further_than_its_user_does_now(control, secret, make, owner):
    _, token = make(role="admin")
    with control.write() as connection:
        other = users.create(connection, "person", "Bob")
        users.join(connection, other.id, "acme", "admin")
        users.join(connection, owner.id, "acme", "viewer")
    principal = opened(control, secret, token)
    assert principal.role == "viewer"
    assert not principal.may(Permission("model", "execute"))


def test_the_keys_of_a_member_who_left_are_refused(control, secret, make, owner):
    _, token = make()
    with control.write() as connection:
        other = users.create(connection, "person", "Bob")
        users.join(connection, other.id, "acme", "admin")
        users.leave(connection, owner.id, "acme")
    with pytest.raises(KeyRefused):
        opened(control, secret, token)


def test_a_confined_key_sees_its_projects_alone(control, secret, make):
    _, token = make(projects=["digits"])
    principal = opened(control, secret, token)
    assert principal.may_see("digits")
    assert not principal.may_see("cartpole")
    assert principal.sight is None


def test_the_last_admin_cannot_leave(control, owner):
    with pytest.raises(users.LastAdmin), control.write() as connection:
        users.leave(connection, owner.id, "acme")


def test_the_last_admin_cannot_become_less(control, owner):
    with pytest.raises(users.LastAdmin), control.write() as connection:
        users.join(connection, owner.id, "acme", "user")
