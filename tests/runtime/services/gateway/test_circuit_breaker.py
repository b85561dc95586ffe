"""Circuit breakers and retries, with Cores that fail."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, cast

import asyncpg
import pytest
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.platform.db.pool import Pool

from sandbox.ports import free_port
from tests.runtime.services.gateway.conftest import Core, Gateway, Key, Reply, running_gateway
from tests.runtime.waiting import until

pytestmark = pytest.mark.requirement("CG-11")

#: Two failures open a circuit breaker for longer than a test; no retries.
BREAKER_SETTINGS = {
    "CIRCUIT_BREAKER_FAILURES": "2",
    "CIRCUIT_BREAKER_RESET_S": "300",
    "RETRY_BUDGET_PERCENT": "0",
}
#: The first trial request is sent after a second.
RECOVERY_SETTINGS = {**BREAKER_SETTINGS, "CIRCUIT_BREAKER_RESET_S": "1"}
#: Circuit breakers are disabled.
RETRY_SETTINGS = {"CIRCUIT_BREAKER_FAILURES": "0", "RETRY_BUDGET_PERCENT": "10"}


@pytest.fixture(scope="module")
def processes(
    database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Gateway]]:
    with ExitStack() as stack:
        gateways = {}
        each = (
            ("breaking", BREAKER_SETTINGS),
            ("recovering", RECOVERY_SETTINGS),
            ("retrying", RETRY_SETTINGS),
        )
        for name, settings in each:
            more = {f"GATEHOUSE_{variable}": value for variable, value in settings.items()}
            started = running_gateway(database, redis_url, tmp_path_factory.mktemp(name), **more)
            port, pid, log, _ = stack.enter_context(started)
            gateways[name] = Gateway(port, pid, None, log)
        yield gateways


@pytest.fixture
async def pool(database: Any) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database.app_url, min_size=1, max_size=2) as connections:
        yield connections
        # The next test registers with another key, which could not take a name with a live lease.
        await connections.execute("UPDATE core SET draining = true")


def fixture(name: str) -> Any:
    @pytest.fixture(name=name)
    def gateway(processes: dict[str, Gateway], pool: asyncpg.Pool) -> Gateway:
        return replace(processes[name], pool=pool)

    return gateway


breaking, recovering, retrying = map(fixture, ("breaking", "recovering", "retrying"))


async def registered(gateway: Gateway, url: str) -> Key:
    _, reply = await gateway.register(url, settings={"response_timeout_s": 1})
    assert reply.status == 200, reply.body
    return await gateway.create_key()


async def codes(gateway: Gateway, key: Key, times: int) -> list[tuple[int, str]]:
    replies = [await gateway.forward(key) for _ in range(times)]
    return [reply.outcome for reply in replies]


def transitions(gateway: Gateway) -> list[tuple[str, str, str]]:
    lines = [line for line in gateway.lines() if line.get("event") == "circuit breaker"]
    return [(line["core"], line["state"], line["level"]) for line in lines]


async def first_trial(gateway: Gateway, key: Key, path: str) -> Reply:
    async with asyncio.timeout(60):
        while (reply := await gateway.forward(key, path)).status == 503:
            await asyncio.sleep(0.05)
    return reply


def transitions_metric(state: str) -> str:
    return f'gatehouse_circuit_breaker_transitions_total{{state="{state}"}}'


async def until_logged(gateway: Gateway, *expected: tuple[str, str, str]) -> None:
    await until(lambda: tuple(transitions(gateway)[-len(expected) :]) == expected)


@pytest.mark.bound("circuit_breaker_failures")
async def test_failures_open_the_circuit(breaking: Gateway, closed_port: int) -> None:
    key = await registered(breaking, f"http://127.0.0.1:{closed_port}")
    before = (
        await breaking.metric(transitions_metric("open")),
        await breaking.metric("gatehouse_circuit_breakers_open"),
    )
    assert await codes(breaking, key, 2) == [(502, "core_unreachable")] * 2
    reply = await breaking.forward(key)
    assert reply.outcome == (503, "core_circuit_open")
    assert 200 < int(reply.header("retry-after") or "") <= 300
    assert reply.header("ratelimit") is not None
    assert await breaking.metric(transitions_metric("open")) == before[0] + 1
    assert await breaking.metric("gatehouse_circuit_breakers_open") == before[1] + 1
    await until_logged(breaking, ("docs", "open", "warning"))


@pytest.mark.parametrize(("path", "status"), [("x", 200), ("silent", 504)])
async def test_connection_of_a_trial_closes_the_circuit(
    recovering: Gateway, core: Core, path: str, status: int
) -> None:
    port = free_port()
    before = await recovering.metric(transitions_metric("closed"))
    key = await registered(recovering, f"http://127.0.0.1:{port}")
    await codes(recovering, key, 2)
    # `async with` would wait until the gateway closes its connections (Python 3.12 and later).
    with closing(await asyncio.start_server(core.serve, "127.0.0.1", port)):
        trial = asyncio.create_task(first_trial(recovering, key, path))
        await until(lambda: core.requests)
        assert (await recovering.forward(key)).body == b"hello"
        assert (await trial).status == status
    assert await recovering.metric(transitions_metric("closed")) == before + 1
    assert await recovering.metric("gatehouse_circuit_breakers_open") == 0
    await until_logged(recovering, ("docs", "open", "warning"), ("docs", "closed", "warning"))


@pytest.mark.parametrize("path", ["status/502", "status/503", "status/504", "drop", "silent"])
async def test_keys_do_not_deny_a_core_to_others(breaking: Gateway, core: Core, path: str) -> None:
    key = await registered(breaking, core.url)
    for client in (key, await breaking.create_key()):
        await asyncio.gather(*(breaking.forward(client, path) for _ in range(3)))
    assert len(core.requests) == 6
    assert (await breaking.forward(await breaking.create_key())).status == 200


async def test_stalled_upload_is_no_core_failure(breaking: Gateway, core: Core) -> None:
    key = await registered(breaking, core.url)
    head = (
        f"POST /cores/docs/up HTTP/1.1\r\nHost: g\r\nX-API-Key: "
        f"{key.token}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    )
    for _ in range(3):
        assert (await breaking.send(head.encode())).status == 504
    assert (await breaking.forward(key)).status == 200


async def test_retries_stop_when_budget_is_used_up(retrying: Gateway, core: Core) -> None:
    key = await registered(retrying, core.url)
    sent, denied = [
        f'gatehouse_core_retries_total{{outcome="{outcome}"}}'
        for outcome in ("sent", "over_budget")
    ]
    before = await retrying.metric(sent), await retrying.metric(denied)
    for _ in range(40):
        assert (await retrying.forward(key, "drop")).status == 502
    retries = len(core.requests) - 40
    assert 10 <= retries <= 10 + len(core.requests) / 10
    assert await retrying.metric(sent) == before[0] + retries
    assert await retrying.metric(denied) == before[1] + 40 - retries


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
    retrying: Gateway, core: Core, method: str, path: str, body: bytes | None, sent: int
) -> None:
    key = await registered(retrying, core.url)
    await retrying.forward(key, path, method, body)
    assert len(core.requests) == sent


async def test_worker_reports_its_circuit_breakers(breaking: Gateway, closed_port: int) -> None:
    key = await registered(breaking, f"http://127.0.0.1:{closed_port}")
    await codes(breaking, key, 2)
    repository = CoreRepository(cast("Pool", breaking.pool))
    cores, _ = await repository.page(after=None, size=100)
    (core,) = [record for record in cores if record.name == "docs" and not record.draining]
    async with asyncio.timeout(30):
        while (summary := (await repository.reports()).summary(core))[1].requests < 2:
            await asyncio.sleep(0)
    states, traffic = summary
    assert (traffic.requests, traffic.failures, states.open + states.half_open) == (2, 2, 1)
    assert states.workers >= 1
