"""Requests that are read and passed on."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Message, Receive, Scope


async def whole_body(receive: Receive) -> bytes:
    """The body of the request."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body, then what comes after it."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def with_body(scope: Scope, body: bytes, receive: Receive) -> tuple[Scope, Receive]:
    """The request with the body in place of its own."""
    length = (b"content-length", str(len(body)).encode())
    kept = [h for h in scope["headers"] if h[0] not in (b"content-length", b"transfer-encoding")]
    return {**scope, "headers": [*kept, length]}, replayed(body, receive)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, whose request was read whole; it is cancelled once the client has gone."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.wait({working, gone})
    if not working.cancelled():
        working.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
