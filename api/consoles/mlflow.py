"""Before the MLflow UI: reading for all who may see it, changes by right, and no way around the
platform.

What is registered, which version is champion, where files lie and what the platform has tagged is
the platform's own: it moves through the gate alone.
"""

import json
import re
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.principal import Principal
from accounts.roles import Action, Permission
from api.bodies import whole_body, with_body
from api.consoles.access import Note, require, require_sight, with_headers
from api.consoles.dagster import mutations_in, object_in
from api.consoles.mlflow_page import is_page, with_choices
from api.problems import Problem

READ = Permission("experiment", "read")
API = r"^/mlflow/(?:ajax-)?api/[23]\.0/"
READING = re.compile(
    API + r"mlflow/(?:(?:runs|experiments|logged-models|model-versions|registered-models|traces"
    r"|datasets)/search|experiments/search-datasets|registered-models/get-latest-versions"
    r"|metrics/get-history-bulk|traces/(?:batchGet|batchGetTraceInfos|metrics)|ui-telemetry"
    r"|artifacts/presigned-download-url)$"
)
"""Requests that read although they are posted."""
CHANGES = re.compile(
    API + r"mlflow/(?:experiments/(?:create|update|delete|restore|set-experiment-tag"
    r"|delete-experiment-tag)|runs/(?:create|update|delete|restore|log-metric|log-parameter"
    r"|set-tag|delete-tag|log-batch|log-model|log-inputs|outputs)|logged-models(?:/.*)?|traces(?:/.*)?"
    r"|registered-models/(?:update|set-tag|delete-tag)|model-versions/(?:update|set-tag|delete-tag))$"
)
"""Changes that are let through, each with its right; every other one is closed."""
FILES = re.compile(
    API
    + r"(?:mlflow-artifacts/(?:artifacts|mpu/(?:create|complete|abort))/.+|mlflow/upload-artifact)$"
)
OUTWARD = re.compile(r"/(gateway-proxy|gateway|assistant|webhooks|jobs|mcp-servers|secrets)(/|$)")
"""Parts of MLflow that reach out or run things; nothing here needs them, not even to read."""
OF_MODELS = re.compile(r"/(registered-models|model-versions)/")
GRAPHQL = "/mlflow/graphql"
OWN = "orrery."
"""Tags that the platform writes, and trusts."""
DROPPED = frozenset({b"authorization", b"cookie", b"x-api-key"})
# The page is changed on its way, so it must come complete and uncompressed.
CACHES = frozenset({b"accept-encoding", b"if-none-match", b"if-modified-since"})


class MlflowProxy:
    """Lets requests through to MLflow's server."""

    def __init__(self, ui: ASGIApp, note: Note) -> None:
        self._ui, self._note = ui, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on. Raises Problem."""
        principal = require_sight(scope, "the MLflow UI")
        require(principal, READ, "the MLflow UI")
        path, method = scope["path"], scope.get("method", "GET")
        if path == "/mlflow":
            await RedirectResponse("/mlflow/", 307)(scope, receive, send)
            return
        if OUTWARD.search(path):
            raise Problem("forbidden", f"{path} is a part of MLflow that is closed here")
        inner, body = with_headers(scope, DROPPED, {}), None
        if is_page(scope):
            inner, send = with_headers(inner, CACHES, {}), with_choices(send)
        if path == GRAPHQL:
            body = await _reading(scope, receive)
        elif method not in ("GET", "HEAD", "OPTIONS"):
            body = await self._passed(principal, path, method, receive)
        if body is not None:
            inner, receive = with_body(inner, body, receive)
        await self._ui(inner, receive, send)

    async def _passed(
        self, principal: Principal, path: str, method: str, receive: Receive
    ) -> bytes | None:
        """The body to pass on where it was read: the very object that was checked."""
        if method == "POST" and READING.match(path):
            return None
        is_file = FILES.match(path) is not None
        if not is_file and not CHANGES.match(path):
            raise Problem(
                "forbidden",
                f"{method} {path} is closed here",
                todo="Versions are registered, and champions made, by jobs of the platform.",
            )
        require(principal, permission_for(path, method), f"MLflow's {path}")
        await self._note(principal, "mlflow.change", f"{method} {path}", None)
        if is_file:
            return None
        request = object_in(await whole_body(receive))
        _refuse_what_is_ours(path, request)
        return json.dumps(request).encode()


def permission_for(path: str, method: str) -> Permission:
    """What a request that changes something needs."""
    resource = "model" if OF_MODELS.search(path) else "experiment"
    action: Action = "update"
    if method == "DELETE" or re.search(r"/(delete|delete-traces)$", path):
        action = "delete"
    elif path.endswith("/create"):
        action = "create"
    return Permission(resource, action)


def _refuse_what_is_ours(path: str, request: dict[str, Any]) -> None:
    if path.endswith("/experiments/create") and not set(request) <= {"name", "tags"}:
        text = "an experiment keeps its files where the platform keeps all of them"
        raise Problem("forbidden", text, todo="Name and tags are all that is taken.")
    if _has_own_tag(request):
        raise Problem("forbidden", f"tags that begin with {OWN!r} are written by the platform")


def _has_own_tag(value: Any) -> bool:
    if isinstance(value, dict):
        key = value.get("key")
        is_own = isinstance(key, str) and key.startswith(OWN)
        return is_own or any(
            str(name).startswith(OWN) or _has_own_tag(inner) for name, inner in value.items()
        )
    return isinstance(value, list) and any(_has_own_tag(inner) for inner in value)


async def _reading(scope: Scope, receive: Receive) -> bytes:
    if scope["method"] != "POST":
        raise Problem("method-not-allowed", "MLflow's GraphQL is posted")
    request = object_in(await whole_body(receive))
    if await run_in_threadpool(mutations_in, request.get("query")):
        raise Problem("forbidden", "MLflow's GraphQL is only read here")
    return json.dumps(request).encode()
