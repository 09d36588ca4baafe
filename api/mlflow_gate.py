"""Before the MLflow UI: reading for all who may see it, changes by right, and never the champion.

The alias `champion` says what may serve, and moves through the gate alone.
"""

import json
import re

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.principal import Principal
from accounts.roles import Action, Permission
from api.dagster_gate import mutations_in
from api.gates import Note, replayed, require, require_sight, whole_body, with_headers
from api.problems import Problem

READ = Permission("experiment", "read")
READING = re.compile(
    r"/(runs|experiments|logged-models|model-versions|registered-models|traces|datasets)/search$"
    r"|/search$|/search-datasets$|/get-latest-versions$|/presigned-download-url$|/ui-telemetry$"
    r"|/(query|get-history-bulk|batchGetTraceInfos|batchGet)$"
)
"""Requests that read although they are posted."""
CLOSED = re.compile(
    r"/(gateway-proxy|gateway|assistant|webhooks|jobs|create-promptlab-run|mcp-servers|scorers"
    r"|demo|secrets|roles)(/|$)|/users/(?!current$)"
)
"""Parts of MLflow that reach out or run things; nothing here needs them."""
OF_MODELS = re.compile(r"/(registered-models|model-versions)/")
GUARDED = frozenset({"champion", "candidate"})
DROPPED = frozenset({b"authorization", b"cookie", b"x-api-key"})


class MlflowGate:
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
        if CLOSED.search(path):
            raise Problem("forbidden", f"{path} is a part of MLflow that is closed here")
        if path.rstrip("/").endswith("/graphql"):
            receive = await _reading(scope, receive)
        elif method not in ("GET", "HEAD", "OPTIONS") and not READING.search(path):
            receive = await self._changing(principal, path, method, receive)
        await self._ui(with_headers(scope, DROPPED, {}), receive, send)

    async def _changing(
        self, principal: Principal, path: str, method: str, receive: Receive
    ) -> Receive:
        require(principal, permission_for(path, method), f"MLflow's {path}")
        self._note(principal, "mlflow.change", f"{method} {path}", None)
        if path.endswith("/registered-models/alias"):
            body = await whole_body(receive)
            if method == "DELETE" or _json(body).get("alias") in GUARDED:
                raise Problem(
                    "forbidden",
                    "the aliases champion and candidate are moved by the platform alone",
                    todo="Deploy the version through a service; the gate decides.",
                )
            return replayed(body, receive)
        if path.endswith("/experiments/create"):
            body = await whole_body(receive)
            if _json(body).get("artifact_location"):
                text = "an experiment keeps its files where the platform keeps all of them"
                raise Problem("forbidden", text, todo="Leave out artifact_location.")
            return replayed(body, receive)
        return receive


def permission_for(path: str, method: str) -> Permission:
    """What a request that changes something needs."""
    resource = "model" if OF_MODELS.search(path) else "experiment"
    action: Action = "update"
    if method == "DELETE" or re.search(r"/(delete|delete-traces)$", path):
        action = "delete"
    elif path.endswith("/create"):
        action = "create"
    return Permission(resource, action)


async def _reading(scope: Scope, receive: Receive) -> Receive:
    if scope["method"] != "POST":
        return receive
    body = await whole_body(receive)
    query = _json(body).get("query")
    if not isinstance(query, str) or any(True for _ in mutations_in(query)):
        raise Problem("forbidden", "MLflow's GraphQL is only read here")
    return replayed(body, receive)


def _json(body: bytes) -> dict:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Problem("malformed", f"the body is no JSON: {error}") from error
    return found if isinstance(found, dict) else {}
