"""The tools over the Model Context Protocol (streamable HTTP), with the keys of the API."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from starlette.types import Receive, Scope, Send

from api.access.identity import PRINCIPAL
from api.agents.tools import Agents, tool_of
from api.context import Call
from api.operations.agents import Execute, Executed
from api.operations.operation import Operation
from api.operations.table import BY_NAME
from api.problems import Problem
from resources.settings import Settings

INSTRUCTIONS = (
    "Orrery trains, simulates and serves models. Reading tools answer at once. A changing tool "
    "first answers with a preview (effect, cost, plan_hash); call it again with the same arguments "
    "and that plan_hash to act. Long work answers with a handle: poll it with jobs.get. The usual "
    "way to a serving model: projects.list, train.submit, jobs.get until succeeded, simulate.list, "
    "simulate.start for each simulation of the model, models.evidence until may_serve, "
    "services.deploy, services.predict."
)
PLAN_HASH = {
    "type": ["string", "null"],
    "default": None,
    "description": "Hash of the preview that you agree to; leave it out to see the preview.",
}


class McpEndpoint:
    """An MCP server over the agent tools; no state between requests, so any replica answers."""

    def __init__(self, agents: Agents, settings: Settings) -> None:
        from mcp.server.lowlevel import Server
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
        from mcp.server.transport_security import TransportSecuritySettings

        self._agents = agents
        root = logging.getLogger()
        level = root.level
        server = Server(
            "orrery",
            version="1",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        root.setLevel(level)
        netloc = urlsplit(settings.url).netloc
        hosts = [netloc, f"{settings.host}:{settings.port}", f"localhost:{settings.port}"]
        self._manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            stateless=True,
            security_settings=TransportSecuritySettings(
                enable_dns_rebinding_protection=True,
                allowed_hosts=hosts,
                allowed_origins=[
                    f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")
                ],
            ),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While requests can be answered."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises the problem `not-found` beside `/mcp`."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != "/mcp":
            raise Problem("not-found", f"there is nothing at {scope['path']}; MCP is at /mcp")
        await self._manager.handle_request(scope, receive, send)

    async def _list(self, context: Any, _: Any) -> Any:
        from mcp_types import ListToolsResult, Tool, ToolAnnotations

        call = self._call_of(context, "agent.tools")
        tools = []
        for operation in self._agents.offered(call):
            shown = tool_of(operation)
            hints = ToolAnnotations(
                title=operation.name,
                read_only_hint=not operation.changes,
                destructive_hint=operation.method == "DELETE",
                idempotent_hint=not operation.changes,
            )
            tools.append(
                Tool(
                    name=operation.name,
                    description=shown.description,
                    input_schema=_input_schema(operation),
                    output_schema=_output_schema(operation),
                    annotations=hints,
                )
            )
        return ListToolsResult(tools=tools)

    async def _call(self, context: Any, params: Any) -> Any:
        from mcp_types import CallToolResult, TextContent

        call = self._call_of(context, "agent.execute")
        arguments = dict(params.arguments or {})
        plan_hash = arguments.pop("plan_hash", None)
        try:
            request = Execute.model_construct(
                tool=params.name, params=arguments, callback=None, plan_hash=plan_hash
            )
            executed = await self._agents.execute(call, request)
        except Problem as problem:
            refusal = problem.document().model_dump_json()
            return CallToolResult(content=[TextContent(type="text", text=refusal)], is_error=True)
        structured = _structured(executed)
        text = json.dumps(structured, ensure_ascii=False)
        return CallToolResult(
            content=[TextContent(type="text", text=text)], structured_content=structured
        )

    def _call_of(self, context: Any, operation: str) -> Call:
        scope = context.request.scope
        asked_for = context.request.headers.get("X-On-Behalf-Of")
        return Call(self._agents.executor.platform, scope[PRINCIPAL], operation, asked_for)


def _input_schema(operation: Operation) -> dict[str, Any]:
    schema = operation.input.model_json_schema()
    if operation.changes:
        schema = {**schema, "properties": {**schema.get("properties", {}), "plan_hash": PLAN_HASH}}
    return schema


def _output_schema(operation: Operation) -> dict[str, Any]:
    kind = Executed if operation.changes else operation.output
    return kind.model_json_schema(mode="serialization")


def _structured(executed: Executed) -> dict[str, Any]:
    """What the tool's output schema promises: a reading's result, or preview and result."""
    if executed.result is not None and not BY_NAME[executed.tool].changes:
        return executed.result
    return executed.model_dump(mode="json")
