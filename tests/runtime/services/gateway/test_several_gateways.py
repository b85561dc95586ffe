"""Four gateways on four addresses behind a load balancer act as one."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.runtime.services.gateway.conftest import Gateway, Key, applied

#: Other systems than Linux have one loopback address.
HOSTS = [f"127.0.0.{number if sys.platform == 'linux' else 1}" for number in range(2, 6)]


@asynccontextmanager
async def balancer(targets: Sequence[tuple[str, int]]) -> AsyncIterator[int]:
    """Forwards each connection to the next target. Yields its port."""
    turn = itertools.cycle(targets)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_target, to_target = await asyncio.open_connection(*next(turn))
        await asyncio.gather(copy(reader, to_target), copy(from_target, writer))
        to_target.close()
        writer.close()

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def balanced(
    gateway: Gateway, start: Any, database: Any, redis_url: str
) -> AsyncIterator[Gateway]:
    """A client of the load balancer."""
    ports = [start(database.app_url, redis_url, GATEHOUSE_BIND=host)[1] for host in HOSTS]
    async with balancer(list(zip(HOSTS, ports, strict=True))) as port:
        yield gateway.on_port(port)


async def codes(gateway: Gateway, key: Key, requests: int) -> Counter[str]:
    """Result codes of requests from eight clients."""

    async def client() -> list[str]:
        return [(await gateway.verify(key.token)).json["code"] for _ in range(requests // 8)]

    return Counter(itertools.chain(*await asyncio.gather(*(client() for _ in range(8)))))


@pytest.mark.requirement("CG-06", "TR-08", "TR-09")
async def test_four_gateways_act_as_one(balanced: Gateway) -> None:
    keys = {}
    for burst in (9, 200):
        limit = {"name": "requests", "quota": burst, "window_s": 86_400, "burst": burst}
        keys[burst] = await balanced.create_key(limits=[limit])
    assert await codes(balanced, keys[9], 40) == {"VALID": 9, "RATE_LIMITED": 31}
    assert 200 <= (await codes(balanced, keys[200], 400))["VALID"] <= 200 + len(HOSTS) * 20

    key = await balanced.create_key()
    assert await codes(balanced, key, 16) == {"VALID": 16}
    await balanced.revoke(key)
    assert await codes(balanced, key, 16) == {"NOT_FOUND": 16}

    other = await balanced.create_key()
    assert await codes(balanced, other, 16) == {"VALID": 16}
    statement = "UPDATE api_key SET scopes = '{}', state = 'disabled' WHERE id = $1"
    await balanced.pool.execute(statement, other.id)
    await applied(balanced.pool, await balanced.pool.fetchval("SELECT seq FROM last_change"))
    assert await codes(balanced, other, 16) == {"DISABLED": 16}
