"""Requests and answers as messages of ASGI."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from runtime.bad_request import BadRequest

Headers = Iterable[tuple[bytes, bytes]]


async def whole_body(receive: Any, largest: int) -> bytes:
    """The body of a request. Raises BadRequest where it has more bytes."""
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > largest:
            raise BadRequest(f"the body has more than {largest} bytes; send fewer rows", 413)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def reply(send: Any, status: int, body: bytes, headers: Headers) -> None:
    """Answer a request with the body, whose length becomes one of the headers."""
    sent = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


async def unless_gone(receive: Any, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, which is cancelled once the client has gone."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.wait({working, gone})
    if not working.cancelled():
        working.result()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
