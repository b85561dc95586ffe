"""Requests that wait delay neither /healthz nor other keys."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login

from sandbox.local import servers
from tests.runtime.server_processes import postgres_pids, redis_pid, suspended
from tests.runtime.services.gateway.conftest import WORK, Gateway, limit, running_gateway
from tests.runtime.waiting import until

CLIENTS = 30
PATIENT = {
    "GATEHOUSE_REQUEST_TIMEOUT_S": "600",
    "GATEHOUSE_RESPONSE_TIMEOUT_S": "600",
    "GATEHOUSE_LIMIT_TIMEOUT_MS": "5000",
    "GATEHOUSE_MAX_STALENESS_MS": "60000",
}
SLOW = {"response_timeout_s": 600}
#: A request continues in each iteration of the event loop.
SHORT_TURNS = """
from gatehouse.platform.http.connections import Connections
def turn(self, *arguments, turn=Connections.turn):
    self._continuing._seconds = 0
    return turn(self, *arguments)
Connections.turn = turn
"""
UNLIMITED = [limit(10**9, 1)]


async def assert_healthy(client: Gateway, waiting: list[asyncio.Task[Any]]) -> None:
    for _ in range(5):
        assert (await client.get("/healthz")).status == 200
    assert [task for task in waiting if task.done()] == []


@pytest.mark.requirement("TR-12", "TR-15")
async def test_health_is_served_during_every_wait(gateway: Gateway, core: Any, start: Any) -> None:
    connections: list[asyncio.StreamWriter] = []
    with servers.postgres() as postgres, servers.redis() as redis_url:
        await runner.migrate(login(postgres.owner_url, "url"))
        _, port, _ = start(postgres.app_url, redis_url, **PATIENT)
        async with asyncpg.create_pool(postgres.app_url, min_size=1, max_size=1) as pool:
            client = dataclasses.replace(gateway, port=port, pool=pool)
            assert (await client.register(core.url, settings=SLOW))[1].status == 200
            keys = [await client.create_key(limits=UNLIMITED) for _ in range(4)]
        key = keys[0].header

        async def send(raw: str) -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            connections.append(writer)
            writer.write(raw.encode())
            await writer.drain()

        for _ in range(CLIENTS):
            await send("GET /x HTTP/1.1\r\nHost: a\r\n")  # unfinished headers
            # An unfinished body.
            await send("POST /v1/keys/verify HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
            # A response that is not read.
            await send(f"GET /cores/docs/big HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n")
        await assert_healthy(client, [])
        assert (await client.verify(keys[3].token)).json["valid"]
        proxied = await client.get("/cores/docs/x", keys[3].header)
        assert (proxied.status, proxied.body) == (200, b"hello")
        waiting = [
            asyncio.create_task(client.get("/cores/docs/silent", key)) for _ in range(2 * CLIENTS)
        ]
        await until(
            lambda: sum(" /silent " in line for line, _, _ in core.requests) >= CLIENTS // 2
        )
        await assert_healthy(client, waiting)
        with suspended(redis_pid(redis_url)):
            limited = asyncio.create_task(client.verify(keys[1].token))
            await assert_healthy(client, waiting)
        assert (await limited).json["valid"]
        with suspended(*postgres_pids(postgres)):
            uncached = asyncio.create_task(client.verify(keys[2].token))
            await assert_healthy(client, [*waiting, uncached])
        assert (await uncached).status in (200, 503)
        for writer in connections:
            writer.close()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until(lambda: core.disconnected.is_set())


async def test_key_with_many_addresses_takes_turns_with_others(
    gateway: Gateway, core: Any, database: Any, redis_url: str, tmp_path: Path
) -> None:
    with running_gateway(database, redis_url, tmp_path, SHORT_TURNS + WORK) as (port, pid, _, _):
        started = gateway.on_port(port)
        async with started.core(core.url) as key:
            keys, writers = [key] * 40 + [await gateway.create_key()], []
            for each in keys[-2:]:  # the gateway has both in memory
                assert (await started.get("/cores/docs/x", each.header)).status == 200
            core.requests.clear()
            with suspended(pid):
                for number, each in enumerate(keys):
                    _, writer = await asyncio.open_connection(
                        "127.0.0.1", port, local_addr=(f"127.0.1.{number}", 0)
                    )
                    raw = f"GET /cores/docs/{number} HTTP/1.1\r\nHost: a\r\n{each.header}\r\n\r\n"
                    writer.write(raw.encode())
                    writers.append(writer)
            await until(lambda: len(core.requests) == len(keys))
            for writer in writers:
                writer.close()
    order = [line.split()[1] for line, _, _ in core.requests]
    assert order.index("/40") < 20, order
