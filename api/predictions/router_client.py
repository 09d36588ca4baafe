"""Requests to the router of services over connections that stay open.

A prediction spends a tenth of a millisecond in the model, so a general client, which needs several
for each request, would be most of its cost. This one sends a body and gives the answer's status,
body and how it is to be read: HTTP/1.1, one request at a time on each connection, one TLS context
for all.

timeout: `CONNECT_S` to connect, `ANSWER_S` for the answer; then RouterUnavailable.
retry: a request is sent once more where a connection that was used before was closed without an
    answer; a prediction changes nothing.
cancel: a request that is given up closes its connection.
duplicate, partial write: nothing is written.
"""

import asyncio
import ssl
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

CONNECT_S = 5.0
ANSWER_S = 30.0
DESCRIBING = (b"content-type", b"inference-header-content-length")
"""Headers that say how a body is to be read."""
MOST_IDLE = 256
"""Connections to one address that are kept open."""


JSON = ((b"content-type", b"application/json"),)


class RouterUnavailable(Exception):
    """The address does not answer."""


class Reply(NamedTuple):
    """What was answered."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]
    """Those that say how the body is to be read, in small letters."""


class Target(NamedTuple):
    """Where an address leads."""

    host: str
    port: int
    is_tls: bool
    authority: str
    path: str


class _Broken(Exception):
    """The connection ended before the answer did."""

    def __init__(self, message: str, *, was_silent: bool) -> None:
        super().__init__(message)
        self.was_silent = was_silent


class _Connection(asyncio.Protocol):
    """One connection; httptools calls the `on_` methods."""

    def __init__(self) -> None:
        self.is_open = True
        self._answer: asyncio.Future[Reply] | None = None
        self._parts: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._is_silent = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> "asyncio.Future[Reply]":
        """The answer to the request. It raises _Broken."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parts, self._headers, self._is_silent = [], [], True
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """End the connection."""
        self.is_open = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._is_silent = False
        if self._answer is None:
            self.close()  # Nobody asked.
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"answered with what is not HTTP: {error}")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if (small := name.lower()) in DESCRIBING:
            self._headers.append((small, value))

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        answer, self._answer = self._answer, None
        if not self._parser.should_keep_alive():
            self.close()
        if answer is not None and not answer.done():
            status, body = self._parser.get_status_code(), b"".join(self._parts)
            answer.set_result(Reply(status, body, self._headers))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._fail(f"closed the connection: {exc}" if exc else "closed the connection")

    def _fail(self, message: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(_Broken(message, was_silent=self._is_silent))


class RouterClient:
    """Open connections by address; used by one event loop."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], list[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes) -> Reply:
        """What the address answers to a JSON body. Raises RouterUnavailable."""
        return await self.request("POST", url, body, JSON)

    async def request(
        self, method: str, url: str, body: bytes, headers: Iterable[tuple[bytes, bytes]]
    ) -> Reply:
        """What the address answers; the headers are sent as they are. Raises
        RouterUnavailable."""
        target = target_of(url)
        request = request_of(method, target, body, headers)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._sent(target, request)
        except _Broken as error:
            raise RouterUnavailable(f"{target.authority} {error}") from error
        except TimeoutError as error:
            text = f"{target.authority} did not answer within {ANSWER_S:.0f} s"
            raise RouterUnavailable(text) from error
        except OSError as error:
            raise RouterUnavailable(f"{target.authority} cannot be reached: {error}") from error

    async def _sent(self, target: Target, request: bytes) -> Reply:
        idle = self._idle.setdefault((target.host, target.port), [])
        while idle:
            if (connection := idle.pop()).is_open:
                try:
                    return await self._on(connection, request, idle)
                except _Broken as error:
                    if not error.was_silent:
                        raise
        return await self._on(await self._connected(target), request, idle)

    async def _on(self, connection: _Connection, request: bytes, idle: list[_Connection]) -> Reply:
        try:
            reply = await connection.send(request)
        except BaseException:
            # An answer that comes later would be taken for that of the next request.
            connection.close()
            raise
        if connection.is_open and len(idle) < MOST_IDLE:
            idle.append(connection)
        elif connection.is_open:
            connection.close()
        return reply

    async def _connected(self, target: Target) -> _Connection:
        if target.is_tls and self._tls is None:
            self._tls = ssl.create_default_context()
        async with asyncio.timeout(CONNECT_S):
            _, connection = await asyncio.get_running_loop().create_connection(
                _Connection, target.host, target.port, ssl=self._tls if target.is_tls else None
            )
        return connection

    def close(self) -> None:
        """End every connection that is idle."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle = {}


@lru_cache(maxsize=1024)
def target_of(url: str) -> Target:
    """Where the address leads."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    host = parts.hostname or ""
    return Target(host, parts.port or (443 if is_tls else 80), is_tls, parts.netloc, parts.path)


def request_of(
    method: str, target: Target, body: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """The request as HTTP/1.1 writes it."""
    sent = b"".join(b"%b: %b\r\n" % header for header in headers)
    head = (
        f"{method} {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    return head.encode("latin-1") + b"%b\r\n%b" % (sent, body)
