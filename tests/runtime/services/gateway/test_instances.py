"""Several instances of a Core."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import cast

import pytest
from gatehouse.core.cores import INSTANCES_MAX, REGISTERED_MAX
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.platform.db.pool import Pool

from tests.runtime.rows import core_row
from tests.runtime.services.gateway.conftest import Core, Gateway, Key, Reply, serving
from tests.runtime.waiting import PAUSE_S, until

#: An open circuit breaker stays open for longer than a test.
GATEWAY_SETTINGS = {
    "GATEHOUSE_CIRCUIT_BREAKER_RESET_S": "300",
    "GATEHOUSE_CORE_HEALTH_INTERVAL_S": "0.1",
}


@pytest.fixture
async def cores() -> AsyncIterator[list[Core]]:
    async with AsyncExitStack() as stack:
        started = [Core(), Core(), Core()]
        for core in started:
            core.port = await stack.enter_async_context(serving(core.serve))
        yield started


async def register(
    gateway: Gateway, agent: Key, url: str, instance_id: str | None, status: int = 200
) -> Reply:
    members = {} if instance_id is None else {"instance_id": instance_id}
    reply = await gateway.put_core(agent, "docs", {"url": url, **members})
    assert reply.status == status, reply.body
    return reply


async def live(gateway: Gateway) -> list[str]:
    statement = (
        "SELECT instance_id FROM core WHERE name = 'docs' AND NOT draining AND "
        "expires_at > now() ORDER BY 1"
    )
    return [row["instance_id"] for row in await gateway.pool.fetch(statement)]


async def test_key_adds_instances(gateway: Gateway, agent: Key, cores: list[Core]) -> None:
    replies = [
        await register(gateway, agent, core.url, f"i{number}") for number, core in enumerate(cores)
    ]
    assert [reply.json["instance_id"] for reply in replies] == ["i0", "i1", "i2"]
    assert len({reply.json["core_secret"] for reply in replies}) == 3
    assert await live(gateway) == ["i0", "i1", "i2"]
    key = await gateway.create_key()
    for _ in range(60):
        assert (await gateway.forward(key)).status == 200
    # The probability that an instance receives none of 60 requests is below 1e-9.
    assert all(core.requests for core in cores)
    for core, reply in zip(cores, replies, strict=True):
        assert {dict(headers)["authorization"] for _, headers, _ in core.requests} == {
            f"Bearer {reply.json['core_secret']}"
        }


async def test_other_key_cannot_add_an_instance(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    first, second, _ = cores
    lease = (await register(gateway, agent, first.url, "a")).json
    # The customer of both keys is the same.
    other = await gateway.create_key(scopes=["cores:register"])
    reply = await register(gateway, other, second.url, "b", status=409)
    assert reply.json["code"] == "conflict"
    assert await live(gateway) == ["a"]
    target = f"/v1/cores/docs?lease_id={lease['lease_id']}"
    assert (await gateway.request("DELETE", target, other.header)).status == 409
    assert (await gateway.put_core(other, "docs", {"lease_id": lease["lease_id"]})).status == 409


async def test_rotated_key_uses_leases_of_its_family(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    first, second, _ = cores
    lease = (await register(gateway, agent, first.url, "a")).json
    rotated = await gateway.create_key(scopes=["cores:register"], family_id=agent.id)
    await register(gateway, rotated, second.url, "b")
    assert (await gateway.put_core(rotated, "docs", {"lease_id": lease["lease_id"]})).status == 200
    await gateway.revoke(agent)
    await gateway.pool.execute("UPDATE core SET draining = true WHERE registered_by = $1", agent.id)
    assert await live(gateway) == ["a", "b"]  # the renewal moved the lease to the rotated key


async def test_registration_replaces_instance_with_same_id(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    first, second, _ = cores
    old = (await register(gateway, agent, first.url, None)).json
    key = await gateway.create_key()
    assert (await gateway.forward(key)).status == 200
    await register(gateway, agent, second.url, None)
    assert await live(gateway) == ["default"]
    assert (await gateway.forward(key)).status == 200
    assert (len(first.requests), len(second.requests)) == (1, 1)
    reply = await gateway.put_core(agent, "docs", {"lease_id": old["lease_id"]})
    assert reply.outcome == (409, "conflict")


async def test_registration_replaces_instance_with_same_url(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    core = cores[0]
    old = (await register(gateway, agent, core.url, "crashed")).json
    new = (await register(gateway, agent, core.url, "restarted")).json
    assert await live(gateway) == ["restarted"]
    renewal = await gateway.put_core(agent, "docs", {"lease_id": old["lease_id"]})
    assert renewal.json["code"] == "core_drained"
    key = await gateway.create_key()
    for _ in range(10):
        await gateway.forward(key)
    assert {dict(headers)["authorization"] for _, headers, _ in core.requests} == {
        f"Bearer {new['core_secret']}"
    }


async def test_instances_with_another_path_receive_no_requests(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    """Envoy adds the same path for all instances: that of the last registration."""
    for number, (core, path) in enumerate(zip(cores, ("/v1", "/v2", "/v2"), strict=True)):
        await register(gateway, agent, core.url + path, f"i{number}")
    key = await gateway.create_key()
    for _ in range(40):
        assert (await gateway.forward(key)).status == 200
    paths = [{line.split(" ")[1] for line, _, _ in core.requests} for core in cores]
    assert paths == [set(), {"/v2/x"}, {"/v2/x"}]


async def test_number_of_instances_is_limited(gateway: Gateway, agent: Key) -> None:
    for number in range(INSTANCES_MAX):
        await register(gateway, agent, f"http://127.0.0.1:{1000 + number}", f"i{number}")
    reply = await register(gateway, agent, "http://127.0.0.1:9", "another", status=409)
    assert "drain an instance first" in reply.json["detail"]
    # An existing instance can register again.
    await register(gateway, agent, "http://127.0.0.1:9", "i0")


async def test_number_of_ended_instances_is_limited(gateway: Gateway, agent: Key) -> None:
    await gateway.pool.execute("DELETE FROM core")
    await gateway.pool.execute(
        core_row("FROM generate_series(1, $2) AS n", instance_id="'i' || n", draining="true"),
        agent.id,
        REGISTERED_MAX,
    )
    reply = await register(gateway, agent, "http://127.0.0.1:9", "new", status=409)
    assert str(REGISTERED_MAX) in reply.json["detail"]
    await register(gateway, agent, "http://127.0.0.1:9", "i1")
    await gateway.pool.execute(
        "UPDATE core SET expires_at = now() - interval '11 minutes' WHERE instance_id = 'i2'"
    )
    await register(gateway, agent, "http://127.0.0.1:9", "new")
    await gateway.pool.execute("UPDATE core SET expires_at = now()")
    # They do not keep the name from other keys.
    other = await gateway.create_key(scopes=["cores:register"])
    await register(gateway, other, "http://127.0.0.1:9", "new")


async def test_ended_instances_are_removed_and_can_return(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    core = cores[0]
    await register(gateway, agent, "http://127.0.0.1:9", "old")
    await gateway.pool.execute(
        "UPDATE core SET expires_at = now() - interval '2 hours' WHERE instance_id = 'old'"
    )
    await register(gateway, agent, "http://127.0.0.1:10", "new")
    assert await gateway.pool.fetchval("SELECT count(*) FROM core WHERE instance_id = 'old'") == 0
    await gateway.pool.execute(
        "UPDATE core SET draining = true, expires_at = now() WHERE instance_id = 'new'"
    )
    await register(gateway, agent, core.url, "old")
    assert (await gateway.forward(await gateway.create_key())).body == b"hello"


@pytest.fixture
async def up(gateway: Gateway, agent: Key, cores: list[Core], closed_port: int) -> Core:
    """The second of two instances. The first one does not listen, so no request is sent to it."""
    core = cores[0]
    await register(gateway, agent, f"http://127.0.0.1:{closed_port}", "down")
    await register(gateway, agent, core.url, "up")
    return core


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "POST"])
async def test_failed_connection_is_retried_on_another_instance(
    gateway: Gateway, up: Core, method: str
) -> None:
    key = await gateway.create_key()
    for _ in range(20):
        assert (await gateway.forward(key, method=method)).status == 200
    assert len(up.requests) == 20


@pytest.mark.usefixtures("up")
async def test_failing_instance_is_avoided(gateway: Gateway) -> None:
    key = await gateway.create_key()
    sent = 'gatehouse_core_retries_total{outcome="sent"}'
    await _settled(gateway)
    before = await gateway.metric(sent)
    for _ in range(40):
        assert (await gateway.forward(key)).status == 200
    assert await until_metric(gateway, sent, before + 5) == before + 5
    await gateway.lines_with(event="circuit breaker", core="docs", instance="down", state="open")
    assert await until_metric(gateway, "gatehouse_circuit_breakers_open", 1) == 1
    repository = CoreRepository(cast("Pool", gateway.pool))
    cores, _ = await repository.page(after=None, size=100)
    (down,) = [each for each in cores if each.instance_id == "down" and not each.draining]
    async with asyncio.timeout(60):
        while (await repository.reports()).summary(down)[1].open != 1:
            await asyncio.sleep(0.01)


async def _settled(gateway: Gateway) -> None:
    """Requests of other tests are counted until their lines in the access log have been read."""
    async with asyncio.timeout(60):
        while await gateway.metric("gatehouse_requests_in_progress"):
            await asyncio.sleep(0.01)


async def until_metric(gateway: Gateway, name: str, value: float) -> float:
    """The metric, when it has at least a value: requests are counted after their end."""
    async with asyncio.timeout(60):
        while (found := await gateway.metric(name)) < value:
            await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("path", ["status/502", "drop"])
async def test_only_instance_is_not_avoided(
    gateway: Gateway, agent: Key, cores: list[Core], path: str
) -> None:
    await register(gateway, agent, cores[0].url, "only")
    key = await gateway.create_key()
    for _ in range(10):
        assert (await gateway.forward(key, path)).status == 502
    await gateway.lines_with(event="circuit breaker", core="docs", instance="only", state="open")
    assert (await gateway.forward(key)).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, path)
        for method in ("GET", "HEAD", "OPTIONS", "DELETE", "POST")
        for path in ("drop", "silent", "status/503")
    ],
)
async def test_request_is_not_sent_again_after_a_core_received_it(
    gateway: Gateway, agent: Key, cores: list[Core], method: str, path: str
) -> None:
    settings = {"response_timeout_s": 1}
    for number, core in enumerate(cores):
        members = {"url": core.url, "instance_id": str(number), "settings": settings}
        assert (await gateway.put_core(agent, "docs", members)).status == 200
    await gateway.forward(await gateway.create_key(), path, method)
    assert sum(len(core.requests) for core in cores) == 1


async def test_retries_have_a_budget(gateway: Gateway, agent: Key) -> None:
    """The Core accepts one connection. All others fail at the same time."""
    retries = 'gatehouse_core_retries_total{outcome="%s"}'
    await _settled(gateway)
    sent, over_budget = [await gateway.metric(retries % name) for name in ("sent", "over_budget")]
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        members = {"url": f"http://127.0.0.1:{server.getsockname()[1]}"}
        settings = {"response_timeout_s": 1}
        assert (
            await gateway.put_core(agent, "docs", {**members, "settings": settings})
        ).status == 200
        key = await gateway.create_key()
        replies = await asyncio.gather(*(gateway.forward(key) for _ in range(40)))
    failed = [reply.outcome for reply in replies].count((502, "core_unreachable"))
    assert failed >= 30
    # A tenth of the requests, or 3.
    await until_metric(gateway, retries % "over_budget", over_budget + 30)
    await _settled(gateway)  # the requests that were sent again end last
    assert 3 <= await gateway.metric(retries % "sent") - sent <= 5


@dataclass
class CheckedCore(Core):
    """A Core that returns `status` to health checks and 200 to every other request."""

    status: int = 200
    forwarded: int = 0

    async def _respond(
        self, path: str, head: bool, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        is_check = path == "/health"
        self.forwarded += not is_check
        status = self.status if is_check else 200
        writer.write(f"HTTP/1.1 {status} Status\r\nContent-Length: 2\r\n\r\nok".encode())
        await writer.drain()


async def test_unhealthy_instance_receives_no_requests_until_it_recovers(
    gateway: Gateway, agent: Key
) -> None:
    cores = [CheckedCore(), CheckedCore()]
    key, settings = await gateway.create_key(), {"health_path": "/health?full=1"}

    async def send() -> list[int]:
        for core in cores:
            core.forwarded = 0
        for _ in range(60):
            assert (await gateway.forward(key)).status == 200
        return [core.forwarded for core in cores]

    async with AsyncExitStack() as stack:
        for number, core in enumerate(cores):
            core.port = await stack.enter_async_context(serving(core.serve))
            members = {"url": core.url, "instance_id": str(number), "settings": settings}
            assert (await gateway.put_core(agent, "docs", members | {"ttl_s": 300})).status == 200
        cores[0].status = 503
        changed = {"event": "core health", "core": "docs", "instance": "0"}
        await gateway.lines_with(**changed, healthy=False)
        async with asyncio.timeout(60):
            while await send() != [0, 60]:
                await asyncio.sleep(PAUSE_S)  # the threads of Envoy learn of it
        assert await gateway.metric("gatehouse_unhealthy_instances") == 1
        cores[0].status = 201
        await gateway.lines_with(**changed, healthy=True)
        assert all(await send())
        # If half of the instances or more are unhealthy, all receive requests.
        for core in cores:
            core.status = 503
        assert await until_metric(gateway, "gatehouse_unhealthy_instances", 2) == 2
        assert all(await send())
        checks = [dict(headers) for line, headers, _ in cores[0].requests if "/health" in line]
    assert {check["user-agent"] for check in checks} == {"gatehouse"}


async def test_drained_instance_receives_no_requests(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    first, second, _ = cores
    lease = (await register(gateway, agent, first.url, "a")).json
    await register(gateway, agent, second.url, "b")
    target = f"/v1/cores/docs?lease_id={lease['lease_id']}"
    assert (await gateway.request("DELETE", target, agent.header)).status == 204
    key = await gateway.create_key()
    for _ in range(20):
        assert (await gateway.forward(key)).status == 200
    assert (len(first.requests), len(second.requests)) == (0, 20)
    renewal = await gateway.put_core(agent, "docs", {"lease_id": lease["lease_id"]})
    assert renewal.json["code"] == "core_drained"


async def test_registration_replaces_imported_instance(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    core = cores[0]
    await gateway.pool.execute(
        core_row(
            instance_id="'imported'", lease_id="'import:1'", expires_at="now() + interval '7 days'"
        ),
        agent.id,
    )
    await register(gateway, agent, core.url, "a")
    assert await live(gateway) == ["a"]


async def test_instance_with_fewer_requests_is_preferred(
    gateway: Gateway, agent: Key, cores: list[Core]
) -> None:
    busy, received, ends = list[bytes](), cores[0].requests, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.append(await reader.readuntil(b"\r\n\r\n"))
        await ends.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    key, sent = await gateway.create_key(), list[asyncio.Task[Reply]]()
    async with serving(serve) as port:
        await register(gateway, agent, f"http://127.0.0.1:{port}", "busy")
        await register(gateway, agent, cores[0].url, "idle")
        for number in range(1, 201):
            sent.append(asyncio.create_task(gateway.forward(key)))
            await until(lambda: len(busy) + len(received) == number)  # noqa: B023
        # Of two random instances, the one with fewer requests is used: on average, 50 of 200. The
        # probability of 80 or more is below 1e-5.
        assert len(busy) < 80
        ends.set()
        assert {reply.status for reply in await asyncio.gather(*sent)} == {200}
