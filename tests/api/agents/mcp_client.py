"""An MCP client, as an agent would use one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


def by_mcp(url: str, key: str, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `use` makes of a client of the MCP server there."""

    async def used() -> Any:
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        http = create_mcp_http_client(headers={"Authorization": f"Bearer {key}"})
        async with Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client:
            return await use(client)

    return asyncio.run(used())
