"""Health checks, and their reservation by workers."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from gatehouse.features.cores.repository import HealthCheckRepository
from gatehouse.platform.db.pool import Pool

from tests.runtime.rows import core_row
from tests.runtime.services.gateway.conftest import Core, Gateway, Key, serving

pytestmark = pytest.mark.requirement("CG-11")

#: No other gateway sends some of the checks.
GATEWAY_SETTINGS = {"GATEHOUSE_CORE_HEALTH_INTERVAL_S": "0.2"}
CHECK = "GET /health?full=1 HTTP/1.1"


@dataclass
class CheckedCore(Core):
    """A Core that returns `status` to health checks and 200 to every other request."""

    status: int = 200

    async def _respond(
        self, path: str, head: bool, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        status = self.status if path == "/health" else 200
        writer.write(f"HTTP/1.1 {status} Status\r\nContent-Length: 2\r\n\r\nok".encode())
        await writer.drain()

    @property
    def forwarded(self) -> int:
        return sum(line != CHECK for line, _, _ in self.requests)


@dataclass
class Setup:
    gateway: Gateway
    name: str
    first: CheckedCore
    second: CheckedCore
    core_secrets: list[str]
    key: Key

    async def is_healthy(self, instance_id: str) -> bool:
        statement = "SELECT healthy FROM core WHERE name = $1 AND instance_id = $2"
        return bool(await self.gateway.pool.fetchval(statement, self.name, instance_id))

    async def until(self, instance_id: str, *, healthy: bool) -> None:
        async with asyncio.timeout(30):
            while await self.is_healthy(instance_id) is not healthy:
                await asyncio.sleep(0.01)
        await self.gateway.lines_with(
            event="core health", core=self.name, instance=instance_id, healthy=healthy
        )

    async def send(self, number: int = 20) -> tuple[int, int]:
        before = self.first.forwarded, self.second.forwarded
        for _ in range(number):
            assert (await self.gateway.get(f"/cores/{self.name}/x", self.key.header)).status == 200
        return self.first.forwarded - before[0], self.second.forwarded - before[1]


@pytest.fixture
async def setup(gateway: Gateway) -> AsyncIterator[Setup]:
    cores = [CheckedCore(), CheckedCore()]
    name = f"checked-{secrets.token_hex(4)}"
    core_secrets: list[str] = []
    agent = await gateway.create_key(scopes=["cores:register"])
    async with AsyncExitStack() as stack:
        for number, core in enumerate(cores):
            core.port = await stack.enter_async_context(serving(core.serve))
            members = {
                "url": f"http://127.0.0.1:{core.port}",
                "instance_id": str(number),
                "settings": {"health_path": "/health?full=1"},
            }
            reply = await gateway.put_core(agent, name, {**members, "ttl_s": 300})
            core_secrets.append(reply.json["core_secret"])
        yield Setup(gateway, name, cores[0], cores[1], core_secrets, await gateway.create_key())
        await gateway.pool.execute(
            "UPDATE core SET draining = true, expires_at = now() WHERE name = $1", name
        )


async def test_unhealthy_instance_receives_no_requests_until_it_recovers(setup: Setup) -> None:
    transitions = 'gatehouse_core_health_transitions_total{state="unhealthy"}'
    before = await setup.gateway.metric(transitions)
    setup.first.status = 503
    await setup.until("0", healthy=False)
    assert await setup.send() == (0, 20)
    assert await setup.gateway.metric(transitions) == before + 1
    setup.first.status = 204
    await setup.until("0", healthy=True)
    first, second = await setup.send(60)
    assert first > 0
    assert second > 0
    checks = [dict(headers) for line, headers, _ in setup.first.requests if line == CHECK]
    assert {check["authorization"] for check in checks} == {f"Bearer {setup.core_secrets[0]}"}


@pytest.fixture
async def repository(module_pool: Pool, gateway: Gateway) -> AsyncIterator[HealthCheckRepository]:
    """The repository, and the instance a of docs, to which the gateway sends no checks."""
    agent = await gateway.create_key(scopes=["cores:register"])
    await gateway.pool.execute(
        core_row(instance_id="'a'", lease_id="'lease-a'", expires_at="now() + interval '1 hour'"),
        agent.id,
    )
    statement = (
        "INSERT INTO core_health (name, instance_id, lease_id, next_at) VALUES "
        "('docs', 'a', 'lease-a', now())"
    )
    await gateway.pool.execute(statement)
    yield HealthCheckRepository(module_pool)
    await gateway.pool.execute("DELETE FROM core WHERE name = 'docs' AND instance_id = 'a'")


async def test_one_of_several_workers_reserves_a_check(
    repository: HealthCheckRepository, gateway: Gateway
) -> None:
    await gateway.pool.execute(
        """UPDATE core SET settings = '{"health_path": "/health"}' """
        "WHERE name = 'docs' AND instance_id = 'a'"
    )
    counts = []
    for _ in range(10):
        await gateway.pool.execute(
            "UPDATE core_health SET next_at = now() - interval '1 second' WHERE name = 'docs'"
        )
        reserved = await asyncio.gather(
            *(repository.reserve({}, interval_s=3600, size=32) for _ in range(4))
        )
        counts.append(sum(instances.count(("docs", "a")) for instances in reserved))
    assert set(counts) <= {0, 1}  # 0: the gateway reserved the check
    assert 1 in counts
