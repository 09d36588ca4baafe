"""Who sends a request: the holder of an API key, or a signed-in browser.

What a key or a session opens is remembered for `REMEMBERED_S`, so that a request costs no query;
a key revoked in this process ends at once, one revoked in another within that time.
"""

import time
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple

from accounts import keys, sessions
from accounts.keys import KeyRefused
from accounts.principal import Principal
from accounts.sessions import SessionEnded
from api.context import Platform
from api.problems import Problem

COOKIE = "orrery_session"
PRINCIPAL = "orrery.principal"
"""Key of a request's ASGI scope under which the middleware keeps its principal."""
REMEMBERED_S = 2.0
MOST_REMEMBERED = 10_000
LONGEST_TOKEN = 200


class Credentials(NamedTuple):
    """What a request brings."""

    token: str
    is_session: bool


class _Remembered(NamedTuple):
    principal: Principal
    until: float


class Identity:
    """Knows callers by their keys and sessions."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._remembered: dict[str, _Remembered] = {}

    def remembered(self, credentials: Credentials) -> Principal | None:
        """Who brings them, if that was asked a moment ago."""
        known = self._remembered.get(self._platform.secret.digest(credentials.token))
        return known.principal if known is not None and known.until > time.time() else None

    def principal(self, credentials: Credentials) -> Principal:
        """Who brings them. Raises the problem `unauthenticated`, or ControlUnavailable."""
        digest, now = self._platform.secret.digest(credentials.token), time.time()
        try:
            with self._platform.control.read() as connection:
                source = sessions if credentials.is_session else keys
                principal, expires_at = source.principal(connection, digest)
        except (KeyRefused, SessionEnded) as error:
            self._remembered.pop(digest, None)
            raise Problem("unauthenticated", str(error)) from error
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        until = min(now + REMEMBERED_S, expires_at or float("inf"))
        self._remembered[digest] = _Remembered(principal, until)
        return principal

    def forget(self) -> None:
        """Ask the database anew for everybody: a right was taken away."""
        self._remembered.clear()


def credentials_in(headers: Iterable[tuple[bytes, bytes]]) -> Credentials | None:
    """What the headers bring, or None. Raises the problem `unauthenticated`."""
    cookie: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            return Credentials(_bearer(value), False)
        if name == b"x-api-key":
            return Credentials(_decoded(value), False)
        if name == b"cookie":
            cookie = value
    token = _cookie(cookie) if cookie else None
    return Credentials(token, True) if token else None


def _bearer(value: bytes) -> str:
    kind, _, token = _decoded(value).partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Problem(
            "unauthenticated", f"got authorization of kind {kind[:20]!r}, expected `Bearer KEY`"
        )
    return token.strip()


def _decoded(value: bytes) -> str:
    text = value.decode("latin-1")
    if len(text) > LONGEST_TOKEN:
        raise Problem("unauthenticated", "the key is longer than any key of this platform")
    return text


def _cookie(value: bytes) -> str | None:
    try:
        morsel = SimpleCookie(value.decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel and len(morsel.value) <= LONGEST_TOKEN else None
