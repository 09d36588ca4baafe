"""Forwarding to a UI that runs elsewhere: HTTP and websockets, streamed both ways.

timeout: `CONNECT_S` to connect, `READ_S` of silence.
retry: none; a UI that does not answer is 503, and the browser asks again.
cancel: a browser that goes away ends the forwarded request.
duplicate, partial write: the UI's own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import websockets
from starlette.types import Receive, Scope, Send

from api.problems import Problem

CONNECT_S = 5.0
READ_S = 120.0
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"host",
        b"authorization",
        b"cookie",
        b"x-api-key",
    }
)
"""Not passed on: what belongs to one connection (RFC 9110), and the sign-in of this gateway."""


class Forward:
    """Passes requests on to another server, under their own paths."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self.client = httpx.AsyncClient(
            base_url=self._base,
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            follow_redirects=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request. Raises the problem `unavailable`."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self.client.build_request(
            scope["method"],
            _target(scope),
            headers=[(k, v) for k, v in scope["headers"] if k not in HOP_BY_HOP],
            content=_body(receive) if scope["method"] not in ("GET", "HEAD") else None,
        )
        try:
            answer = await self.client.send(request, stream=True)
        except httpx.HTTPError as error:
            text = f"{self._base} does not answer: {error!r}"
            raise Problem("unavailable", text, retry_after_s=10) from error
        try:
            headers = [(k, v) for k, v in answer.headers.raw if k.lower() not in HOP_BY_HOP]
            start = {"type": "http.response.start", "status": answer.status_code}
            await send({**start, "headers": headers})
            # Not decoded, because the Content-Encoding header is passed on as it is.
            async for part in answer.aiter_raw():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        url = self._base.replace("http", "ws", 1) + _target(scope)
        protocols = [websockets.Subprotocol(p) for p in scope.get("subprotocols", [])]
        try:
            async with websockets.connect(
                url, subprotocols=protocols or None, open_timeout=CONNECT_S, max_size=None
            ) as upstream:
                await receive()
                await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
                down = asyncio.create_task(_to_browser(upstream, send))
                try:
                    await _to_server(receive, upstream)
                finally:
                    down.cancel()
        except (OSError, websockets.WebSocketException):
            # The browser may have closed the connection already, and ASGI refuses a second close.
            with contextlib.suppress(RuntimeError):
                await send({"type": "websocket.close", "code": 1011})


def _target(scope: Scope) -> str:
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string", b"")
    return (path.partition(b"?")[0] + (b"?" + query if query else b"")).decode("latin-1")


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _to_browser(upstream: websockets.ClientConnection, send: Send) -> None:
    async for message in upstream:
        key = "text" if isinstance(message, str) else "bytes"
        await send({"type": "websocket.send", key: message})
    await send({"type": "websocket.close", "code": upstream.close_code or 1000})


async def _to_server(receive: Receive, upstream: websockets.ClientConnection) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if message["type"] == "websocket.receive":
            await upstream.send(message.get("text") or message.get("bytes") or "")
