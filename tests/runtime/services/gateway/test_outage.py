"""Gateways while PostgreSQL, and also Valkey, is not available. The servers are processes of their
own, which are suspended: they neither respond nor close connections.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import httpx
import pytest
from gatehouse.core.tokens.token import Pepper
from gatehouse.platform.db.pool import Pool, login

from sandbox.local import servers
from tests.runtime.console_client import BOOTSTRAP, LogRecorder, composition
from tests.runtime.server_processes import own_server, postgres_pids, redis_pid, suspended
from tests.runtime.services.gateway.conftest import (
    PEPPER,
    Core,
    Gateway,
    Key,
    Start,
    applied,
    limit,
    serving,
)
from tests.runtime.waiting import PAUSE_S, until

__all__ = ["own_server"]

STALENESS_MS = 3000
#: Duration of a lease, and the rest of it at the beginning of an outage, which is longer.
LEASE_S, REST_S = 120, 15
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
async def setup(own_server: servers.Postgres, start: Start) -> AsyncIterator[Setup]:
    server = own_server
    with servers.redis() as redis_url:
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
    agent: Key
    lease_id: str
    outcomes: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    renewals: list[int] = field(default_factory=list)
    #: Set when the agent begins to renew the lease of the Core.
    renews: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        clients = [
            asyncio.create_task(self._client(gateway, offset))
            for gateway in self.setup.gateways
            for offset in range(2)
        ]
        clients.append(asyncio.create_task(self._renew()))
        try:
            yield
        finally:
            self.stopped = True
            await asyncio.gather(*clients)

    async def _renew(self) -> None:
        """Renews the lease of the Core as an agent does."""
        await self.renews.wait()
        while not self.stopped:
            members = {"lease_id": self.lease_id}
            reply = await self.setup.gateway.put_core(self.agent, "docs", members)
            self.renewals.append(reply.status)
            await asyncio.sleep(0.5)

    async def _client(self, gateway: Gateway, offset: int) -> None:
        for key in itertools.cycle(self.keys[offset:] + self.keys[:offset]):
            if self.stopped:
                return
            reply = await gateway.verify(key.token)
            self.outcomes["verify", *reply.outcome] += 1
            reply = await gateway.get("/cores/docs/x", key.header)
            code = "" if reply.status == 200 else reply.json["code"]
            self.outcomes["core", reply.status, code] += 1
            await asyncio.sleep(5 * PAUSE_S)


async def run_outage(setup: Setup, core: Core) -> Load:
    """Suspends PostgreSQL under load until the lease of the Core has ended, with revocations in the
    middle.
    """
    keys = [await setup.known_key() for _ in range(20)]
    held, managed = await setup.known_key(), await setup.known_key()
    unknown = await setup.gateway.create_key()
    agent = await setup.gateway.create_key(scopes=["cores:register"])
    members = {"url": core.url, "ttl_s": LEASE_S}
    lease = (await setup.gateway.put_core(agent, "docs", members)).json
    await setup.serving(keys[0])
    load = Load(setup, keys, agent, lease["lease_id"])
    async with asyncio.timeout(300), load.running():
        shorten = "UPDATE core SET expires_at = now() + make_interval(secs => $1)"
        changed = await setup.gateway.pool.fetchval(f"{shorten} RETURNING change_seq", REST_S)
        await applied(setup.gateway.pool, changed)
        with suspended(*postgres_pids(setup.server)):
            load.renews.set()
            await setup.away(2 * STALENESS_MS / 1000)
            assert await setup.gateway.code(held.token) == "VALID"
            own = await setup.gateway.post("/v1/keys/revoke-self", {"token": held.token})
            assert (own.status, own.json["effective"]) == (200, "announced")
            path, once = f"/v1/keys/{managed.id}/revoke", {"Idempotency-Key": "once"}
            revoked = await setup.console.post(path, json={"reason": "leaked"}, headers=once)
            assert revoked.json() == {"key": None, "effective": "announced"}
            for key in (held, managed):
                await setup.denied(key)
            replies = await asyncio.gather(
                *(setup.gateway.verify(unknown.token) for _ in range(20))
            )
            assert {reply.outcome for reply in replies} == {(503, "UNAVAILABLE")}
            ready = await setup.gateway.get("/readyz")
            assert (ready.status, ready.json["status"]) == (200, "degraded")
            assert ready.json["checks"]["database"] == "degraded"
            await setup.away(REST_S + 1)
            await until(lambda: 503 in load.renewals)
        await setup.connected()
        await until(lambda: load.renewals[-1] != 503)
        for key in (held, managed):
            await setup.committed(key)
            assert await setup.gateway.code(key.token) == "NOT_FOUND"
        assert await setup.gateway.code(unknown.token) == "VALID"
    assert set(load.renewals) == {200, 503}, "the lease was not lost"
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
    load = await run_outage(setup, core)
    assert load.outcomes.keys() == {("verify", 200, "VALID"), ("core", 200, "")}


async def test_without_both_servers_keys_are_denied(setup: Setup) -> None:
    key, gateway = await setup.known_key(), setup.gateway
    async with asyncio.timeout(90):
        with suspended(*postgres_pids(setup.server)):
            await setup.away(2 * STALENESS_MS / 1000)
            assert await gateway.code(key.token) == "VALID"
            with suspended(redis_pid(setup.redis_url)):
                while await gateway.code(key.token) == "VALID":
                    await asyncio.sleep(0.05)
                assert (await gateway.verify(key.token)).outcome == (503, "UNAVAILABLE")
                header = await gateway.get("/v1/keys/verify", key.header)
                assert (header.status, header.header("retry-after")) == (503, "1")
                proxied = await gateway.get("/cores/docs/x", key.header)
                assert proxied.outcome == (503, "UNAVAILABLE")
                assert await gateway.code("nonsense") == "NOT_FOUND"
                ready = await gateway.get("/readyz")
                assert (ready.status, ready.json["checks"]["keys"]) == (503, "unavailable")
                assert (await gateway.get("/healthz")).status == 200
            while await gateway.code(key.token) != "VALID":
                await asyncio.sleep(0.05)


@dataclass
class Link:
    """Forwards connections to PostgreSQL until it is cut."""

    port: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    is_cut: bool = False

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, other_writer]
        await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))

    def cut(self) -> None:
        self.is_cut = True
        for writer in self.writers:
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


async def test_gateway_without_database_denies_keys_that_others_revoke(
    start: Start, setup: Setup
) -> None:
    """One gateway is separated from PostgreSQL, while the other and the console are connected."""
    link, server = Link(setup.server.port), setup.server
    async with serving(link.forward) as port:
        url = server.app_url.replace(f":{server.port}/", f":{port}/")
        settings = {"GATEHOUSE_MAX_STALENESS_MS": str(STALENESS_MS)}
        _, port, _ = await asyncio.to_thread(start, url, setup.redis_url, **settings)
        gateway = setup.gateway.on_port(port)
        keys = [await setup.known_key() for _ in range(3)]
        for key in keys:
            assert await gateway.code(key.token) == "VALID"
        link.cut()
        async with asyncio.timeout(90):
            while await gateway.metric("gatehouse_database_age_seconds") < STALENESS_MS / 1000:
                await asyncio.sleep(0.05)
            for key, action in zip(keys, ("revoke", "disable"), strict=False):
                reply = await setup.console.post(f"/v1/keys/{key.id}/{action}", json={})
                assert reply.json()["effective"] == "within_bound"
                while await gateway.code(key.token) == "VALID":
                    await asyncio.sleep(0.05)
        codes = [await gateway.code(key.token) for key in keys]
        assert codes == ["NOT_FOUND", "DISABLED", "VALID"]
