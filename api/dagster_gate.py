"""Before the Dagster UI: every GraphQL document is read, and each mutation in it needs a right."""

import json
from collections.abc import Iterable, Iterator
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
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accounts.principal import Principal
from accounts.roles import Permission
from api.gates import Note, replayed, require, require_sight, whole_body, with_headers
from api.problems import Problem
from resources.dagster_graphql import USER_HEADER, USER_TAG

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
MOST_FRAGMENTS = 1_000


class DagsterGate:
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
        if scope["path"].rstrip("/").endswith("/graphql"):
            receive = await self._checked(scope, receive, principal)
        elif scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            require(principal, REMOVE, "reporting events to Dagster")
            self._note(principal, "dagster.report", scope["path"], None)
        await self._ui(inner, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, principal: Principal) -> Receive:
        if scope["method"] == "POST":
            kind = next((v for k, v in scope["headers"] if k == b"content-type"), b"")
            if b"application/json" not in kind:
                raise Problem("unsupported-media", "a GraphQL request is JSON")
            body = await whole_body(receive)
            asked = _read(body)
            self._require_rights(asked.get("query"), asked.get("variables"), principal)
            tagged = _tagged(asked, principal)
            return replayed(body if tagged is None else json.dumps(tagged).encode(), receive)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("query")
        if query and any(True for text in query for _ in mutations_in(text)):
            raise Problem("method-not-allowed", "a mutation is sent with POST")
        return receive

    def _require_rights(self, query: Any, variables: Any, principal: Principal) -> None:
        if not isinstance(query, str):
            raise Problem("malformed", "a GraphQL request has a `query`")
        for name in mutations_in(query):
            require(principal, MUTATIONS.get(name, UNKNOWN), f"Dagster's {name}")
            if name not in SILENT:
                self._note(principal, f"dagster.{name}", "dagster", variables)


def mutations_in(query: str) -> Iterator[str]:
    """Names of the mutations anywhere in the document. Raises the problem `malformed`."""
    try:
        document = parse(query, max_tokens=50_000)
    except (GraphQLError, RecursionError) as error:
        raise Problem("malformed", f"this is no GraphQL: {error}") from error
    fragments = {
        node.name.value: node.selection_set
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    for node in _operations(document):
        if node.operation is OperationType.MUTATION:
            yield from _fields(node.selection_set, fragments, [MOST_FRAGMENTS])


def _operations(document: DocumentNode) -> Iterable[OperationDefinitionNode]:
    return (node for node in document.definitions if isinstance(node, OperationDefinitionNode))


def _fields(
    selections: SelectionSetNode, fragments: dict[str, SelectionSetNode], left: list[int]
) -> Iterator[str]:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
            continue
        left[0] -= 1
        if left[0] < 0:
            raise Problem("malformed", "the document repeats its fragments without end")
        if isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments, left)
        elif isinstance(node, FragmentSpreadNode) and node.name.value in fragments:
            yield from _fields(fragments[node.name.value], fragments, left)


def _read(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem("malformed", f"the body is no JSON: {error}") from error
    if not isinstance(asked, dict):
        raise Problem("malformed", "a GraphQL request is a JSON object; batches are not taken")
    return asked


def _tagged(asked: dict[str, Any], principal: Principal) -> dict[str, Any] | None:
    """The request with the user among the tags of a backfill, whose dagster_runs start later in
    another process; None where nothing is to change."""
    if not BACKFILLS & set(mutations_in(asked["query"])):
        return None
    variables = asked.get("variables")
    params = variables.get("backfillParams") if isinstance(variables, dict) else None
    if not isinstance(variables, dict) or not isinstance(params, dict):
        raise Problem("malformed", "a backfill is asked for with the variable `backfillParams`")
    tag = {"key": USER_TAG, "value": principal.user_id}
    others = [t for t in params.get("tags") or [] if t.get("key") != USER_TAG]
    return {
        **asked,
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
            refused = isinstance(query, str) and any(True for _ in mutations_in(query))
        except (ValueError, AttributeError, Problem):
            refused = True
        return {"type": "websocket.disconnect", "code": 1008} if refused else message

    return checked
