"""Gateways while PostgreSQL, and also Valkey, is not available. The servers are processes of their
own, which are suspended: they neither respond nor close connections.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import httpx
import pytest
from gatehouse.core.token import Pepper
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import Pool, login

from sandbox.local import servers
from tests.runtime.console_client import BOOTSTRAP, LogRecorder, composition
from tests.runtime.server_processes import postgres_pids, suspended
from tests.runtime.services.gateway.conftest import PEPPER, Core, Gateway, Key, Start, limit

STALENESS_MS = 1500
LEASE_S = 5
UNLIMITED = [limit(10**9, 1)]


@dataclass
class Setup:
    """Two gateways, and a console that runs no background jobs."""

    server: servers.Postgres
    redis_url: str
    gateways: list[Gateway]
    console: httpx.AsyncClient

    @property
    def gateway(self) -> Gateway:
        return self.gateways[0]

    async def known_key(self, **columns: Any) -> Key:
        """A key that both gateways have cached."""
        key = await self.gateway.create_key(limits=UNLIMITED, **columns)
        for gateway in self.gateways:
            assert await gateway.code(key.token) == "VALID"
        return key

    async def away(self, seconds: float) -> None:
        """Waits until no gateway has read the database for some time."""
        for gateway in self.gateways:
            while await gateway.metric("gatehouse_database_age_seconds") < seconds:
                await asyncio.sleep(0.1)

    async def connected(self) -> None:
        for gateway in self.gateways:
            while await gateway.metric("gatehouse_database_age_seconds") > STALENESS_MS / 1000:
                await asyncio.sleep(0.05)

    async def denied(self, key: Key) -> None:
        for gateway in self.gateways:
            while await gateway.code(key.token) != "NOT_FOUND":
                await asyncio.sleep(0.05)

    async def committed(self, key: Key) -> None:
        statement = "SELECT state FROM api_key WHERE id = $1"
        while await self.gateway.pool.fetchval(statement, key.id) != "revoked":
            await asyncio.sleep(0.05)

    async def serving(self, key: Key) -> None:
        for gateway in self.gateways:
            while (await gateway.get("/cores/docs/x", key.header)).status != 200:
                await asyncio.sleep(0.05)


@pytest.fixture
async def setup(start: Start) -> AsyncIterator[Setup]:
    with servers.postgres() as server, servers.redis() as redis_url:
        await runner.migrate(login(server.owner_url, "url"))
        async with (
            asyncpg.create_pool(server.app_url, min_size=0, max_size=4) as pool,
            _console(server, redis_url) as console,
        ):
            gateways = []
            for _ in range(2):
                child, port, log = start(
                    server.app_url,
                    redis_url,
                    GATEHOUSE_MAX_STALENESS_MS=str(STALENESS_MS),
                    GATEHOUSE_METRICS_NAMESPACE="Gatehouse/prod",
                )
                gateways.append(Gateway(port, child.pid, pool, log, child=child))
            yield Setup(server, redis_url, gateways, console)


@asynccontextmanager
async def _console(server: servers.Postgres, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    pool = Pool(login(server.app_url, "url"), application="tests", size_max=4)
    redis: dict[str, Any] = {"redis_url": redis_url, "redis_auth": "url"}
    console = replace(composition(pool, LogRecorder(), **redis), pepper=Pepper({1: PEPPER}, 1))
    headers = {"Authorization": f"Bearer {BOOTSTRAP}"}
    transport = httpx.ASGITransport(console.application(), client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(
        transport=transport, base_url="https://console.test", headers=headers
    ) as client:
        yield client
    await pool.close()


@dataclass
class Load:
    """Clients that verify keys and request a Core in turn, until `stopped`."""

    setup: Setup
    keys: list[Key]
    outcomes: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    stopped: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        clients = [
            asyncio.create_task(self._client(gateway, offset))
            for gateway in self.setup.gateways
            for offset in range(2)
        ]
        try:
            yield
        finally:
            self.stopped = True
            await asyncio.gather(*clients)

    async def _client(self, gateway: Gateway, offset: int) -> None:
        for key in itertools.cycle(self.keys[offset:] + self.keys[:offset]):
            if self.stopped:
                return
            reply = await gateway.verify(key.token)
            self.outcomes["verify", *reply.outcome] += 1
            reply = await gateway.get("/cores/docs/x", key.header)
            self.outcomes["core", reply.status, ""] += 1


async def run_outage(setup: Setup, core: Core, seconds: float) -> Load:
    """Suspends PostgreSQL for some time under load, with revocations in the middle."""
    agent = await setup.gateway.create_key(scopes=["cores:register"])
    members = {"url": core.url, "ttl_s": LEASE_S}
    lease = (await setup.gateway.put_core(agent, "docs", members)).json
    keys = [await setup.known_key() for _ in range(20)]
    held, managed = await setup.known_key(), await setup.known_key()
    unknown = await setup.gateway.create_key()
    await setup.serving(keys[0])
    load = Load(setup, keys)
    async with asyncio.timeout(seconds + 90), load.running():
        with suspended(*postgres_pids(setup.server)):
            await setup.away(seconds / 2)
            assert await setup.gateway.code(held.token) == "VALID"
            own = await setup.gateway.post("/v1/keys/revoke-self", {"token": held.token})
            assert (own.status, own.json["effective"]) == (200, "announced")
            path, once = f"/v1/keys/{managed.id}/revoke", {"Idempotency-Key": "once"}
            revoked = await setup.console.post(path, json={"reason": "leaked"}, headers=once)
            assert revoked.json() == {"key": None, "effective": "announced"}
            for key in (held, managed):
                await setup.denied(key)
            assert (await setup.gateway.verify(unknown.token)).outcome == (503, "UNAVAILABLE")
            ready = await setup.gateway.get("/readyz")
            assert (ready.status, ready.json["status"]) == (200, "degraded")
            assert ready.json["checks"]["database"] == "degraded"
            await setup.away(seconds)
        await setup.connected()
        for key in (held, managed):
            await setup.committed(key)
            assert await setup.gateway.code(key.token) == "NOT_FOUND"
        assert await setup.gateway.code(unknown.token) == "VALID"
    renewed = await setup.gateway.put_core(agent, "docs", {"lease_id": lease["lease_id"]})
    assert (renewed.status, renewed.json["lease_id"]) == (200, lease["lease_id"])
    rows = await setup.gateway.pool.fetch(
        "SELECT action, actor_type, details::text FROM audit_event WHERE target_id = ANY ($1) "
        "ORDER BY action",
        [held.id, managed.id],
    )
    assert [tuple(row) for row in rows] == [
        ("key.revoke", "bootstrap", '{"reason": "leaked"}'),
        ("key.self-revoke", "key", '{"reason": ""}'),
    ]
    return load


async def test_known_keys_and_cores_outlive_the_database(setup: Setup, core: Core) -> None:
    load = await run_outage(setup, core, LEASE_S + 5)
    assert load.outcomes.keys() == {("verify", 200, "VALID"), ("core", 200, "")}
