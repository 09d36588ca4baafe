"""Answers of the router that come in parts, passed on while they come.

timeout: `CONNECT_S` to connect, `SILENT_S` without a byte; then RouterUnavailable.
retry: none; a text may have been begun.
cancel: leaving the context closes the connection, which ends what is written for it.
duplicate, partial write: nothing is written.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import httptools

from api.predictions.router_client import (
    CONNECT_S,
    RouterUnavailable,
    Target,
    request_of,
    target_of,
)

SILENT_S = 630.0
"""More than the router itself waits for a replica."""
READ_BYTES = 65_536
PASSED_ON = (b"content-type", b"content-length", b"retry-after", b"cache-control")
"""Headers of an answer that its reader needs."""


class Streamed:
    """An answer whose parts are read as they come; httptools calls the `on_` methods."""

    def __init__(self, reader: asyncio.StreamReader, authority: str) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        """Those that its reader needs, in small letters."""
        self._reader, self._authority = reader, authority
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._has_head = self._has_ended = False

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return self._parser.get_status_code()

    async def read_head(self) -> None:
        """Return when status and headers are known. Raises RouterUnavailable."""
        while not self._has_head:
            await self._read()

    async def parts(self) -> AsyncIterator[bytes]:
        """The body. Raises RouterUnavailable where it ends too soon."""
        while True:
            if self._parts:
                part, self._parts = b"".join(self._parts), []
                yield part
            if self._has_ended:
                return
            await self._read()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(SILENT_S):
                data = await self._reader.read(READ_BYTES)
            if not data:
                raise RouterUnavailable(f"{self._authority} closed the connection")
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            text = f"{self._authority} answered with what is not HTTP: {error}"
            raise RouterUnavailable(text) from error
        except TimeoutError as error:
            text = f"{self._authority} was silent for {SILENT_S:.0f} s"
            raise RouterUnavailable(text) from error
        except OSError as error:
            raise RouterUnavailable(f"{self._authority} broke off: {error}") from error

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come."""
        if (small := name.lower()) in PASSED_ON:
            self.headers.append((small, value))

    def on_headers_complete(self) -> None:
        """The head has come whole."""
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        """A part of the body has come."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """The answer has come whole."""
        self._has_ended = True


@asynccontextmanager
async def streamed(
    method: str, url: str, body: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> AsyncIterator[Streamed]:
    """The answer of the address, on a connection of its own. Raises RouterUnavailable."""
    target = target_of(url)
    reader, writer = await _connected(target)
    try:
        writer.write(request_of(method, target, body, headers))
        answer = Streamed(reader, target.authority)
        await answer.read_head()
        yield answer
    finally:
        writer.close()


async def _connected(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    tls = ssl.create_default_context() if target.is_tls else None
    try:
        async with asyncio.timeout(CONNECT_S):
            return await asyncio.open_connection(target.host, target.port, ssl=tls)
    except OSError as error:
        raise RouterUnavailable(f"{target.authority} cannot be reached: {error}") from error
