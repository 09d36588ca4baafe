"""What stands before both UIs: only people who may see everything, and no change without right."""

from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive, Scope

from accounts.principal import Principal
from accounts.roles import Permission
from api.doorkeeper import PRINCIPAL
from api.problems import Problem

Note = Callable[[Principal, str, str, Any], None]
"""Records in the audit who did what to what, with what."""


def require_sight(scope: Scope, what: str) -> Principal:
    """The caller, if it may see all that the UI shows. Raises the problem `forbidden`."""
    principal: Principal = scope[PRINCIPAL]
    if not principal.sees_all:
        raise Problem(
            "forbidden",
            f"{what} shows every organization of this installation, and you do not belong to all",
            todo="Use the API, the command line, or the links that they give.",
        )
    return principal


def require(principal: Principal, permission: Permission, what: str) -> None:
    """Return when the caller may. Raises the problem `forbidden`."""
    if not principal.may(permission):
        text = f"{what}: role {principal.role} does not have the right to {permission}"
        raise Problem("forbidden", text)


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


def with_headers(scope: Scope, drop: frozenset[bytes], add: dict[bytes, bytes]) -> Scope:
    """The scope with some headers taken away and others put in."""
    kept = [(k, v) for k, v in scope["headers"] if k not in drop and k not in add]
    return {**scope, "headers": [*kept, *add.items()]}
