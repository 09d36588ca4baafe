"""Where the platform is and which key to come with, where a program does not say it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from orrery.connection import checked_url
from orrery.errors import NoKey

CREDENTIALS = Path("~/.config/orrery/credentials.json")
"""What `orrery sign-in` keeps."""
KEY_VARIABLES = ("ORRERY_API_KEY", "ORRERY_KEY")
LOCAL = "http://127.0.0.1:3000"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ADVICE = (
    "give key=..., set ORRERY_URL and ORRERY_API_KEY, run `orrery sign-in`, or start `orrery up` "
    "on this machine"
)


class Place(NamedTuple):
    """A platform and a key for it."""

    url: str
    key: str


def discovered(url: str | None = None, key: str | None = None) -> Place:
    """The platform of the address and its key: as given, of `ORRERY_URL` and `ORRERY_API_KEY`, as
    `orrery sign-in` kept them, or of the installation in this folder or one above it.

    A kept key goes only to the address that it was kept for. Raises NoKey, or ValueError for an
    address that is none.
    """
    url = url or os.environ.get("ORRERY_URL") or None
    if url is not None:
        url = checked_url(url)
    key = key or next(filter(None, map(os.environ.get, KEY_VARIABLES)), None)
    if key:
        return Place(url or LOCAL, key)
    for place in (*_signed_in(), *_installed()):
        if url is None or _is_same(url, place.url):
            return Place(url or place.url, place.key)
    about = f" for {url}" if url else ""
    raise NoKey(f"there is no key to sign in with{about}; {ADVICE}")


def _is_same(one: str, other: str) -> bool:
    """Whether both are one address; names of this machine are alike."""
    mine, yours = urlsplit(one), urlsplit(other)
    hosts = {mine.hostname, yours.hostname}
    is_host = len(hosts) == 1 or hosts <= LOOPBACK
    return is_host and (mine.scheme, mine.port) == (yours.scheme, yours.port)


def _signed_in() -> Iterator[Place]:
    try:
        known = json.loads(CREDENTIALS.expanduser().read_text(encoding="utf-8"))
        yield Place(checked_url(str(known["url"])), str(known["key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return


def _installed() -> Iterator[Place]:
    """Installations whose state lies in `ORRERY_STATE`, or here, or in a folder above."""
    states = [Path(os.environ["ORRERY_STATE"])] if os.environ.get("ORRERY_STATE") else []
    states += [folder / ".orrery" for folder in (Path.cwd(), *Path.cwd().parents)]
    for state in states:
        try:
            key = (state / "admin.key").read_text(encoding="utf-8").strip()
        except OSError:
            continue
        yield Place(_address_of(state), key)


def _address_of(state: Path) -> str:
    """Where the installation answers, or would where its settings do not say anything else."""
    try:
        noted = json.loads((state / "up" / "addresses.json").read_text(encoding="utf-8"))
        return checked_url(
            str(noted.get("public_url") or "") or f"http://{noted['host']}:{noted['port']}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return f"http://127.0.0.1:{os.environ.get('ORRERY_PORT') or 3000}"
