"""The adapter to one gateway: requests that survive an outage, lists by pages, followed logs.

timeout: `timeout_s` for each try; a followed log may be silent for `SILENCE_S`.
retry: outages (no answer, 429, 503 `unavailable`, and 502 to 504 of something between) for
    `patience_s`, with growing pauses or as Retry-After says. Only requests that read or have an
    idempotency key are sent again; a refusal never is.
cancel: an interrupted call may have been carried out; the same idempotency key again tells.
duplicate: each change has an idempotency key, made here where none is given.
partial write: the platform's own.
"""

import json
import random
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from orrery import errors
from orrery.decoding import decoded, encoded
from orrery.server_events import Event, events_in, lines_in

CONNECT_S = 5.0
SILENCE_S = 45.0
"""The gateway says something every 15 s, so a longer silence is a broken connection."""
FOLLOW_PATIENCE_S = 600.0
"""How long a followed log may be out of reach."""
FIRST_PATIENCE_S = 5.0
"""How long an address is tried that has never answered: it may be the wrong one."""
PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
KEY_FIELD = "idempotency_key"
OUTAGES = frozenset({"unavailable", "rate-limited"})
BETWEEN = frozenset({429, 502, 503, 504})
"""Statuses of outages where no problem document of the platform says what they are."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Route:
    """How an operation is asked over HTTP."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header by the field that it carries."""
    has_body: bool = False
    only_reads: bool = False
    nulls: tuple[str, ...] = ()
    """Fields of which None is sent, because it differs from leaving them out."""

    @property
    def path_fields(self) -> list[str]:
        """Fields that the path names."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list."""

    items: list[T]
    next_cursor: str | None


class Listing(Generic[T]):
    """A list of the platform: iterating it fetches page after page, as far as it is iterated."""

    def __init__(
        self, connection: "Connection", route: Route, kind: type[T], fields: Mapping[str, Any]
    ) -> None:
        self._connection, self._route, self._kind, self._fields = connection, route, kind, fields

    def __iter__(self) -> Iterator[T]:
        cursor: str | None = None
        while True:
            page = self._fetched(cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    @cached_property
    def page(self) -> Page[T]:
        """The first page, or the one of the `cursor` that was asked for."""
        return self._fetched(None)

    def __repr__(self) -> str:
        return f"<list of {self._kind.__name__}; iterate it>"

    def _fetched(self, cursor: str | None) -> Page[T]:
        fields = self._fields if cursor is None else {**self._fields, "cursor": cursor}
        answer = _loads(self._connection.answer(self._route, fields).content)
        items = [decoded(self._kind, item) for item in answer["items"]]
        return Page(items, answer.get("next_cursor"))


class Connection:
    """One gateway, asked with one key."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 60.0,
        patience_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = checked_url(url)
        self.patience_s, self._has_answered = patience_s, False
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Accept": "application/json"},
            auth=_Bearer(key),
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<connection to {self.url}>"

    def close(self) -> None:
        """Give up the open connections."""
        self._http.close()

    def call(self, route: Route, kind: type[T], fields: Mapping[str, Any]) -> T:
        """What the operation answers. Raises Refused, Unreachable or UnexpectedAnswer."""
        return decoded(kind, _loads(self.answer(route, fields).content))

    def listing(self, route: Route, kind: type[T], fields: Mapping[str, Any]) -> Listing[T]:
        """The list, nothing of it fetched yet."""
        return Listing(self, route, kind, fields)

    def follow(self, route: Route, kind: type[T], fields: Mapping[str, Any]) -> Iterator[Event[T]]:
        """Events of a log until its end; after a broken connection it goes on where it was.

        Raises Refused, or Unreachable where the platform is away for `FOLLOW_PATIENCE_S`.
        """
        last, outage = fields.get("last_event_id"), _Outage(FOLLOW_PATIENCE_S)
        while True:
            try:
                for event in self._events(route, {**fields, "last_event_id": last}):
                    outage = _Outage(FOLLOW_PATIENCE_S)
                    last = event.id or last
                    yield Event(event.id, event.name, decoded(kind, _loads(event.data)))
                    if event.name == "end":
                        return
                reason: Exception = errors.Unreachable(f"{self.url} closed the connection")
            except (httpx.TransportError, errors.Refused, errors.Unreachable) as error:
                if not _is_outage(error):
                    raise
                reason = error
            outage.wait_or_raise(self._as_ours(reason))

    def answer(self, route: Route, fields: Mapping[str, Any]) -> httpx.Response:
        """The answer to the operation. Raises Refused or Unreachable."""
        takes_key = KEY_FIELD in route.headers or KEY_FIELD in fields
        if takes_key and not route.only_reads and fields.get(KEY_FIELD) is None:
            fields = {**fields, KEY_FIELD: uuid.uuid4().hex}
        request = self._request(route, fields)
        repeats = route.only_reads or takes_key
        outage = _Outage(self.patience_s)
        while True:
            try:
                answer = self._http.send(request)
                self._has_answered = True
                require_success(answer)
                return answer
            except (httpx.TransportError, errors.Refused, errors.Unreachable) as error:
                if not repeats or not _is_outage(error):
                    raise self._as_ours(error) from error
                if not self._has_answered:
                    outage.patience_s = min(outage.patience_s, FIRST_PATIENCE_S)
                outage.wait_or_raise(self._as_ours(error))

    def _events(self, route: Route, fields: Mapping[str, Any]) -> Iterator[Event[str]]:
        request = self._request(route, fields)
        timeout = httpx.Timeout(CONNECT_S, read=SILENCE_S)
        request.extensions["timeout"] = timeout.as_dict()
        answer = self._http.send(request, stream=True)
        try:
            if not answer.is_success:
                answer.read()
                require_success(answer)
            yield from events_in(lines_in(answer.iter_bytes()))
        finally:
            answer.close()

    def _request(self, route: Route, fields: Mapping[str, Any]) -> httpx.Request:
        given = {n: v for n, v in fields.items() if v is not None or n in route.nulls}
        path = route.path.format(
            **{name: quote(str(given.pop(name)), safe="") for name in route.path_fields}
        )
        headers = {
            header: str(given.pop(name))
            for name, header in route.headers.items()
            if given.get(name) is not None
        }
        if route.has_body:
            headers["Content-Type"] = "application/json"
            content = encoded(given)
            return self._http.build_request(route.method, path, content=content, headers=headers)
        params = {name: _parameter(value) for name, value in given.items()}
        return self._http.build_request(route.method, path, params=params, headers=headers)

    def _as_ours(self, error: Exception) -> Exception:
        if not isinstance(error, httpx.TransportError):
            return error
        return errors.Unreachable(f"nobody answers at {self.url}: {error or type(error).__name__}")


class _Bearer(httpx.Auth):
    """Puts the key into each request; nothing that is shown or logged holds it."""

    def __init__(self, key: str) -> None:
        self._key = key.strip()
        if not self._key.isascii() or not self._key.isprintable() or not self._key:
            raise errors.NoKey("the key is empty or has characters that no key has")

    def auth_flow(self, request: httpx.Request) -> Any:
        """The request with the key."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request

    def __repr__(self) -> str:
        return "<key>"


class _Outage:
    """Pauses of one outage: growing, with a random part, so that not all clients come at once."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s, self._tries, self._since = patience_s, 0, time.monotonic()

    def wait_or_raise(self, error: Exception) -> None:
        """Return after the next pause. Raises the error where the patience is over by then."""
        pause_s = PAUSES_S[min(self._tries, len(PAUSES_S) - 1)] * random.uniform(0.75, 1.25)
        pause_s = max(pause_s, getattr(error, "retry_after_s", None) or 0.0)
        self._tries += 1
        waited_s = time.monotonic() - self._since
        # A try may have used up all of the patience by itself; it gets a second one.
        if waited_s + pause_s > self.patience_s and (self._tries > 1 or pause_s > self.patience_s):
            raise error
        time.sleep(pause_s)


def checked_url(url: str) -> str:
    """The address without a slash at its end. Raises ValueError for one that is none."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"got the address {url!r}, expected http://HOST:PORT or https://HOST")
    return url.rstrip("/")


def require_success(answer: httpx.Response) -> None:
    """Raises Refused for a problem document, Unreachable for what is no answer of the platform."""
    if answer.is_success:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or not errors.code_of(problem):
        text = f"{answer.url} answered {answer.status_code}, and not as Orrery does"
        raise errors.Unreachable(text, is_outage=answer.status_code in BETWEEN)
    raise errors.refusal(problem, _seconds(answer.headers.get("Retry-After")))


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; the platform sends no dates."""
    return float(text) if text and text.isdigit() else None


def _is_outage(error: Exception) -> bool:
    """Whether the same request may be answered later."""
    if isinstance(error, httpx.TransportError):
        # A certificate that is not trusted, or a request that cannot be written, stays so.
        is_lasting = isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol))
        return not is_lasting and "CERTIFICATE_VERIFY_FAILED" not in str(error)
    if isinstance(error, errors.Refused):
        return error.code in OUTAGES
    return getattr(error, "is_outage", False)


def _parameter(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return [str(each) for each in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _loads(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise errors.UnexpectedAnswer(f"the platform's answer is no JSON: {error}") from error
