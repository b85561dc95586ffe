"""Calls a tool in a session with the official SDK."""

import asyncio
import os

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
    async with (
        httpx2.AsyncClient(headers=headers) as client,
        streamable_http_client(f"{os.environ['URL']}/mcp", http_client=client) as streams,
        ClientSession(*streams[:2]) as session,
    ):
        await session.initialize()
        assert [tool.name for tool in (await session.list_tools()).tools] == ["add"]
        result = await session.call_tool("add", {"first": 2, "second": 3})
        assert result.content[0].text == "5", result


asyncio.run(main())
