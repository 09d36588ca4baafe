"""The finding of a check, and its text without secrets."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

State = Literal["ok", "missing", "warning", "skipped"]
HIDDEN = "***"
TELLS_A_SECRET = re.compile(r"(PASSWORD|TOKEN|ACCESS_KEY|CLIENT_SECRET|ASK_KEY)$")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    message: str
    todo: str = ""
    commands: tuple[str, ...] = ()
    """What can be copied into a shell, in this order."""


def fine(name: str, message: str) -> Finding:
    """All is well with it."""
    return Finding(name, "ok", message)


def missing(name: str, message: str, todo: str, *commands: str) -> Finding:
    """Without it the platform does not work."""
    return Finding(name, "missing", message, todo, commands)


def warning(name: str, message: str, todo: str, *commands: str) -> Finding:
    """Something works worse, or not at all, without it."""
    return Finding(name, "warning", message, todo, commands)


def skipped(name: str, message: str, todo: str, *commands: str) -> Finding:
    """It could not be looked at from here."""
    return Finding(name, "skipped", message, todo, commands)


def place(url: str) -> str:
    """Scheme, host and path of an address: all of it that may be shown."""
    named = urlsplit(url)
    return f"{named.scheme}://{named.netloc.rpartition('@')[2]}{named.path}"


def redacted(text: object, urls: Iterable[str] = ()) -> str:
    """Words of a library, without the secrets of the addresses and of the environment."""
    said = str(text)
    # The longest first, because one secret may be a part of another.
    for secret in sorted(_secrets(urls), key=len, reverse=True):
        said = said.replace(secret, HIDDEN)
    return said.strip()


def _secrets(urls: Iterable[str]) -> set[str]:
    secrets = {value for name, value in os.environ.items() if TELLS_A_SECRET.search(name)}
    for url in urls:
        named = urlsplit(url)
        password = named.netloc.rpartition("@")[0].partition(":")[2]
        secrets |= {password, unquote(password)}
        secrets |= {v for k, v in parse_qsl(named.query) if "password" in k or "token" in k}
    return secrets - {""}
