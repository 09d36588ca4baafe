"""What stands before both UIs: only people who may see everything, and no change without right."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Scope

from accounts.principal import Principal
from accounts.roles import Permission, allows
from api.access.identity import PRINCIPAL
from api.problems import Problem

Note = Callable[[Principal, str, str, Any], Awaitable[None]]
"""Records in the audit who did what to what, with what."""


def require_sight(scope: Scope, what: str) -> Principal:
    """The caller, if it may see all that the UI shows. Raises the problem `forbidden`."""
    principal: Principal = scope[PRINCIPAL]
    if principal.sight is None:
        raise Problem(
            "forbidden",
            f"{what} shows every organization of this installation, and you do not belong to all",
            todo="Use the API, the command line, or the links that they give.",
        )
    return principal


def require(principal: Principal, permission: Permission, what: str) -> None:
    """Return when the caller may, over the whole instance. Raises the problem `forbidden`."""
    if principal.sight is None or not allows(principal.sight, permission):
        text = f"{what}: role {principal.sight} does not have the right to {permission}"
        raise Problem("forbidden", text)


def with_headers(scope: Scope, drop: frozenset[bytes], add: dict[bytes, bytes]) -> Scope:
    """The scope with some headers taken away and others put in."""
    kept = [(k, v) for k, v in scope["headers"] if k not in drop and k not in add]
    return {**scope, "headers": [*kept, *add.items()]}
