import threading
import time

import pytest
from sqlalchemy import text

from accounts import sessions
from accounts.sessions import SessionEnded, SignInRefused


def start(control, secret, owner):
    with control.write() as connection:
        return sessions.start(connection, secret, owner.id, "acme")


def test_a_session_opens_as_its_user(control, secret, owner):
    session = start(control, secret, owner)
    with control.read() as connection:
        principal, _ = sessions.principal(connection, secret.digest(session.token))
    assert (principal.user_id, principal.role, principal.key_id) == (owner.id, "admin", None)


def test_an_ended_session_opens_nothing(control, secret, owner):
    session = start(control, secret, owner)
    digest = secret.digest(session.token)
    with control.write() as connection:
        sessions.end(connection, digest)
    with pytest.raises(SessionEnded), control.read() as connection:
        sessions.principal(connection, digest)


def test_a_session_ends_by_the_clock(control, secret, owner):
    session = start(control, secret, owner)
    with control.write() as connection:
        past = {"past": time.time() - 1}
        connection.execute(text("UPDATE sessions SET expires_at = :past"), past)
    with pytest.raises(SessionEnded), control.read() as connection:
        sessions.principal(connection, secret.digest(session.token))


def offered(control, secret, within_s=60.0):
    with control.write() as connection:
        return sessions.offer(connection, secret, "link", {"user_id": "u"}, within_s)


def test_a_one_time_secret_is_taken_once(control, secret):
    token = offered(control, secret)
    with control.write() as connection:
        assert sessions.take(connection, secret, "link", token) == {"user_id": "u"}
    with pytest.raises(SignInRefused, match="before"), control.write() as connection:
        sessions.take(connection, secret, "link", token)


def test_a_one_time_secret_grows_too_old(control, secret):
    token = offered(control, secret, within_s=-1)
    with pytest.raises(SignInRefused, match="too old"), control.write() as connection:
        sessions.take(connection, secret, "link", token)


def test_a_one_time_secret_opens_only_what_it_was_made_for(control, secret):
    token = offered(control, secret)
    with pytest.raises(SignInRefused, match="not known"), control.write() as connection:
        sessions.take(connection, secret, "oidc", token)


def test_two_takers_at_once_get_it_once(control, secret):
    token = offered(control, secret)
    outcomes = []

    def take():
        try:
            with control.write() as connection:
                sessions.take(connection, secret, "link", token)
            outcomes.append("taken")
        except SignInRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 3 + ["taken"]
