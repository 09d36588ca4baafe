"""Before the Dagster UI: every GraphQL document is read, and each mutation in it needs a right."""

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    parse,
)
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accounts.principal import Principal
from accounts.roles import Permission
from api.bodies import whole_body, with_body
from api.consoles.access import Note, require, require_sight, with_headers
from api.problems import Problem
from resources.orchestration.graphql import USER_HEADER, USER_TAG

LAUNCH = Permission("project", "execute")
CHANGE = Permission("project", "update")
REMOVE = Permission("project", "delete")
READ = Permission("project", "read")
UNKNOWN = Permission("organization", "update")
"""What a mutation needs that nobody has thought about."""
MUTATIONS: dict[str, Permission] = {
    **dict.fromkeys(
        (
            "launchRun",
            "launchPipelineExecution",
            "launchMultipleRuns",
            "launchRunReexecution",
            "launchPipelineReexecution",
            "launchPartitionBackfill",
            "resumePartitionBackfill",
            "reexecutePartitionBackfill",
            "cancelPartitionBackfill",
            "terminateRun",
            "terminateRuns",
            "terminatePipelineExecution",
            # A dry run executes the code of the sensor or schedule.
            "sensorDryRun",
            "scheduleDryRun",
        ),
        LAUNCH,
    ),
    **dict.fromkeys(
        (
            "startSchedule",
            "stopRunningSchedule",
            "resetSchedule",
            "startSensor",
            "stopSensor",
            "resetSensor",
            "setSensorCursor",
            "reloadRepositoryLocation",
            "reloadWorkspace",
            "addDynamicPartition",
            "freeConcurrencySlots",
            "freeConcurrencySlotsForRun",
        ),
        CHANGE,
    ),
    **dict.fromkeys(
        ("deleteRun", "deletePipelineRun", "wipeAssets", "deleteDynamicPartitions"), REMOVE
    ),
    **dict.fromkeys(("logTelemetry", "setNuxSeen"), READ),
}
SILENT = frozenset({"logTelemetry", "setNuxSeen"})
BACKFILLS = frozenset({"launchPartitionBackfill"})
DROPPED = frozenset({USER_HEADER.lower().encode(), b"authorization", b"cookie", b"x-api-key"})
MOST_TOKENS = 15_000
GRAPHQL = "/dagster/graphql"
REPORTS = re.compile(r"^/dagster/report_asset_(materialization|observation|check)/[^/]")


class DagsterProxy:
    """Lets requests through to Dagster's webserver, each in the name of its caller."""

    def __init__(self, ui: ASGIApp, note: Note) -> None:
        self._ui, self._note = ui, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on. Raises Problem."""
        principal = require_sight(scope, "the Dagster UI")
        require(principal, READ, "the Dagster UI")
        user = {USER_HEADER.lower().encode(): principal.user_id.encode()}
        inner = with_headers(scope, DROPPED, user)
        if scope["type"] == "websocket":
            await self._ui(inner, _reading(receive), send)
            return
        path = scope["path"]
        if path == GRAPHQL:
            body = await self._checked(scope, receive, principal)
            if body is not None:
                inner, receive = with_body(inner, body, receive)
        elif scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            if not REPORTS.match(path):
                raise Problem("method-not-allowed", f"nothing is sent to {path}")
            require(principal, REMOVE, "reporting events to Dagster")
            await self._note(principal, "dagster.report", path, None)
        await self._ui(inner, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, principal: Principal) -> bytes | None:
        """The body to pass on, if there is one: what was read, and not bytes that another might
        read otherwise."""
        if scope["method"] == "POST":
            kind = next((v for k, v in scope["headers"] if k == b"content-type"), b"")
            if b"application/json" not in kind:
                raise Problem("unsupported-media", "a GraphQL request is JSON")
            body = await whole_body(receive)
            request = object_in(body)
            # In a thread, because parsing a large document would block the event loop.
            names = await run_in_threadpool(mutations_in, request.get("query"))
            for name in sorted(names):
                require(principal, MUTATIONS.get(name, UNKNOWN), f"Dagster's {name}")
            for name in sorted(names - SILENT):
                await self._note(principal, f"dagster.{name}", "dagster", request.get("variables"))
            if names & BACKFILLS:
                request = _tagged(request, principal)
            return json.dumps(request).encode()
        query = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("query")
        for text in query or []:
            if await run_in_threadpool(mutations_in, text):
                raise Problem("method-not-allowed", "a mutation is sent with POST")
        return None


def mutations_in(query: Any) -> frozenset[str]:
    """Names of the mutations anywhere in the document. Raises the problem `malformed`."""
    if not isinstance(query, str):
        raise Problem("malformed", "a GraphQL request has a `query`")
    try:
        document = parse(query, max_tokens=MOST_TOKENS)
    except (GraphQLError, RecursionError) as error:
        raise Problem("malformed", f"this is no GraphQL: {error}") from error
    fragments = {
        node.name.value: node.selection_set
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    names: set[str] = set()
    for node in _operations(document):
        if node.operation is OperationType.MUTATION:
            _collect(node.selection_set, fragments, names)
    return frozenset(names)


def _operations(document: DocumentNode) -> Iterable[OperationDefinitionNode]:
    return (node for node in document.definitions if isinstance(node, OperationDefinitionNode))


def _collect(
    selections: SelectionSetNode, fragments: dict[str, SelectionSetNode], names: set[str]
) -> None:
    """Add the fields' names; each fragment is taken out when it is met, and so looked at once."""
    for node in selections.selections:
        if isinstance(node, FieldNode):
            names.add(node.name.value)
        elif isinstance(node, InlineFragmentNode):
            _collect(node.selection_set, fragments, names)
        elif isinstance(node, FragmentSpreadNode) and node.name.value in fragments:
            _collect(fragments.pop(node.name.value), fragments, names)


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object in the body. Raises the problem `malformed`."""
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Problem("malformed", f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Problem("malformed", "the body is a JSON object; nothing else is taken")
    return value


def _tagged(request: dict[str, Any], principal: Principal) -> dict[str, Any]:
    """The request with the user among the tags of a backfill, whose dagster_runs start later in
    another process."""
    variables = request.get("variables")
    params = variables.get("backfillParams") if isinstance(variables, dict) else None
    if not isinstance(variables, dict) or not isinstance(params, dict):
        raise Problem("malformed", "a backfill is asked for with the variable `backfillParams`")
    tag = {"key": USER_TAG, "value": principal.user_id}
    others = [t for t in params.get("tags") or [] if t.get("key") != USER_TAG]
    return {
        **request,
        "variables": {**variables, "backfillParams": {**params, "tags": [*others, tag]}},
    }


def _reading(receive: Receive) -> Receive:
    """Messages of a websocket, none of which may carry a mutation."""

    async def checked() -> Message:
        message = await receive()
        text = message.get("text")
        if text is None:
            return message
        try:
            payload = json.loads(text).get("payload") or {}
            query = payload.get("query")
            refused = query is not None and bool(await run_in_threadpool(mutations_in, query))
        except (ValueError, AttributeError, Problem):
            refused = True
        return {"type": "websocket.disconnect", "code": 1008} if refused else message

    return checked
