"""Queries, and subscribes over a WebSocket."""

import asyncio
import os

from gql import Client, gql
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

URL = f"{os.environ['URL']}/graphql"
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}"}


async def main() -> None:
    async with Client(transport=HTTPXAsyncTransport(URL, headers=HEADERS)) as session:
        assert await session.execute(gql("{ name }")) == {"name": "numbers"}
    websocket = WebsocketsTransport(URL.replace("http", "ws", 1), headers=HEADERS)
    async with Client(transport=websocket) as session:
        query = gql("subscription { count(to: 3) }")
        assert [row["count"] async for row in session.subscribe(query)] == [0, 1, 2]


asyncio.run(main())
