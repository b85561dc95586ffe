"""Circuit breakers and retries of a running gateway, with Cores that are down, silent or broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sandbox.ports import free_port
from tests.runtime.gateway.conftest import Core, Gateway, Key, Reply, gateway_environment, start_gateway

pytestmark = pytest.mark.requirement("CG-11")

#: Two failures open a circuit breaker for a second; no retries.
RESTING = {"CIRCUIT_BREAKER_FAILURES": "2", "CIRCUIT_BREAKER_RESET_S": "1", "RETRY_BUDGET_PERCENT": "0", "CORE_TIMEOUT_S": "1"}
#: Circuit breakers are disabled.
REPEATING = {"CIRCUIT_BREAKER_FAILURES": "0", "RETRY_BUDGET_PERCENT": "10", "CORE_TIMEOUT_S": "1"}


@pytest.fixture(scope="module")
def begun(database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, int, Path]]]:
    """A gateway with each of the two settings: port, process and log."""
    children, result = [], {}
    for name, given in (("resting", RESTING), ("repeating", REPEATING)):
        port, log = free_port(), tmp_path_factory.mktemp(name) / "gateway.log"
        more = {f"GATEHOUSE_{variable}": value for variable, value in given.items()}
        child = start_gateway(gateway_environment(database.app_url, redis_url, port, **more), log)
        children.append(child)
        result[name] = port, child.pid, log
    yield result
    for child in children:
        child.stop()


async def _gateway(database_url: str, port: int, pid: int, log: Path) -> AsyncIterator[Gateway]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        yield Gateway(port, pid, pool, log)
        # The next test registers with another key, which could not take a name with a live lease.
        await pool.execute("UPDATE core SET draining = true")


@pytest.fixture
async def resting(begun: dict[str, tuple[int, int, Path]], database: Any) -> AsyncIterator[Gateway]:
    async for gateway in _gateway(database.app_url, *begun["resting"]):
        yield gateway


@pytest.fixture
async def repeating(begun: dict[str, tuple[int, int, Path]], database: Any) -> AsyncIterator[Gateway]:
    async for gateway in _gateway(database.app_url, *begun["repeating"]):
        yield gateway


async def registered(gateway: Gateway, url: str) -> tuple[Key, Key]:
    """Registers `url` as docs; returns the key of the agent and a key with scope cores:read."""
    agent, reply = await gateway.register(url)
    assert reply.status == 200, reply.body
    return agent, await gateway.mint()


async def get(gateway: Gateway, key: Key, path: str = "x", method: str = "GET", body: bytes | None = None) -> Reply:
    return await gateway.ask(method, f"/cores/docs/{path}", f"X-API-Key: {key.token}", body=body)


async def codes(gateway: Gateway, key: Key, times: int, path: str = "x") -> list[tuple[int, str]]:
    replies = [await get(gateway, key, path) for _ in range(times)]
    return [(reply.status, reply.json["code"]) for reply in replies]


async def metric(gateway: Gateway, name: str) -> float:
    page = (await gateway.ask("GET", "/metrics")).body.decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"{name} "))


def transitions(gateway: Gateway) -> list[tuple[str, str, str]]:
    lines = [line for line in gateway.lines() if line.get("event") == "circuit breaker"]
    return [(line["core"], line["state"], line["level"]) for line in lines]


async def until_tried(gateway: Gateway, key: Key) -> Reply:
    """The first response after the reset time."""
    async with asyncio.timeout(20):
        while (reply := await get(gateway, key)).status == 503:
            await asyncio.sleep(0.05)
    return reply


async def test_circuit_opens_and_closes_again(resting: Gateway, core: Core) -> None:
    gateway, port = resting, free_port()
    opened, closed = [f'gatehouse_circuit_breaker_transitions_total{{state="{to}"}}' for to in ("open", "closed")]
    before = await metric(gateway, opened), await metric(gateway, closed)
    _, key = await registered(gateway, f"http://127.0.0.1:{port}")
    assert await codes(gateway, key, 2) == [(502, "core_unreachable")] * 2
    reply = await get(gateway, key)
    assert (reply.status, reply.json["code"], reply.header("retry-after")) == (503, "core_circuit_open", "1")
    assert reply.header("ratelimit") is not None
    assert await metric(gateway, opened) == before[0] + 1
    assert await metric(gateway, "gatehouse_circuit_breakers_open") == 1
    async with await asyncio.start_server(core.serve, "127.0.0.1", port):
        assert (await until_tried(gateway, key)).body == b"hello"
        assert (await get(gateway, key)).status == 200
    assert await metric(gateway, closed) == before[1] + 1
    assert await metric(gateway, "gatehouse_circuit_breakers_open") == 0
    expected = [("docs", "open", "warning"), ("docs", "closed", "warning")]
    async with asyncio.timeout(20):  # log lines are written in batches
        while transitions(gateway)[-2:] != expected:
            await asyncio.sleep(0.01)


async def test_core_that_stays_down_gets_one_trial(resting: Gateway) -> None:
    gateway = resting
    _, key = await registered(gateway, f"http://127.0.0.1:{free_port()}")
    await codes(gateway, key, 2)
    assert (await until_tried(gateway, key)).status == 502
    assert await codes(gateway, key, 1) == [(503, "core_circuit_open")]


async def test_silent_core_times_out_and_opens_circuit(resting: Gateway, core: Core) -> None:
    gateway = resting
    _, key = await registered(gateway, core.url)
    assert await codes(gateway, key, 3, "silent") == [(504, "core_timeout")] * 2 + [(503, "core_circuit_open")]
    assert len(core.requests) == 2


async def test_responses_never_open_circuit(resting: Gateway, core: Core) -> None:
    gateway = resting
    _, key = await registered(gateway, core.url)
    for status in (500, 502, 503, 504, 500, 500):
        assert (await get(gateway, key, f"status/{status}")).body == f"core says {status}".encode()
    assert (await get(gateway, key)).status == 200


async def test_stalled_upload_is_no_core_failure(resting: Gateway, core: Core) -> None:
    gateway = resting
    _, key = await registered(gateway, core.url)
    head = f"POST /cores/docs/up HTTP/1.1\r\nHost: g\r\nX-API-Key: {key.token}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    for _ in range(3):
        assert (await gateway.send(head.encode())).status == 504
    assert (await get(gateway, key)).status == 200


async def test_other_core_is_not_affected(resting: Gateway, core: Core) -> None:
    gateway = resting
    _, key = await registered(gateway, f"http://127.0.0.1:{free_port()}")
    await gateway.register(core.url, "wiki")
    await codes(gateway, key, 3)
    assert (await gateway.ask("GET", "/cores/wiki/x", f"X-API-Key: {key.token}")).status == 200


async def test_new_registration_closes_circuit(resting: Gateway, core: Core) -> None:
    gateway = resting
    agent, key = await registered(gateway, f"http://127.0.0.1:{free_port()}")
    assert (await codes(gateway, key, 3))[-1] == (503, "core_circuit_open")
    assert (await gateway.put_core(agent, "docs", {"url": core.url})).status == 200
    assert (await get(gateway, key)).status == 200


async def test_disabled_circuit_breaker_keeps_sending(repeating: Gateway) -> None:
    gateway = repeating
    _, key = await registered(gateway, f"http://127.0.0.1:{free_port()}")
    assert await codes(gateway, key, 10) == [(502, "core_unreachable")] * 10


async def test_retries_stop_when_budget_is_used_up(repeating: Gateway, core: Core) -> None:
    gateway = repeating
    _, key = await registered(gateway, core.url)
    sent, denied = [f'gatehouse_core_retries_total{{outcome="{outcome}"}}' for outcome in ("sent", "over_budget")]
    before = await metric(gateway, sent), await metric(gateway, denied)
    for _ in range(40):
        assert (await get(gateway, key, "drop")).status == 502
    again = len(core.requests) - 40
    assert 10 <= again <= 10 + len(core.requests) / 10
    assert await metric(gateway, sent) == before[0] + again
    assert await metric(gateway, denied) == before[1] + 40 - again


@pytest.mark.parametrize(
    ("method", "path", "body", "sent"),
    [
        ("GET", "drop", None, 2),
        ("HEAD", "drop", None, 2),
        ("OPTIONS", "drop", None, 2),
        ("DELETE", "drop", None, 1),
        ("POST", "drop", None, 1),
        ("GET", "drop", b"question", 1),
        ("GET", "status/503", None, 1),
        ("GET", "silent", None, 1),
    ],
)
async def test_only_safe_requests_are_retried(
    repeating: Gateway, core: Core, method: str, path: str, body: bytes | None, sent: int
) -> None:
    _, key = await registered(repeating, core.url)
    await get(repeating, key, path, method, body)
    assert len(core.requests) == sent


async def test_unsent_request_is_retried_with_any_method(repeating: Gateway) -> None:
    _, key = await registered(repeating, f"http://127.0.0.1:{free_port()}")
    before = await metric(repeating, 'gatehouse_core_retries_total{outcome="sent"}')
    assert (await get(repeating, key, method="POST")).status == 502
    assert await metric(repeating, 'gatehouse_core_retries_total{outcome="sent"}') == before + 1
