"""The concurrency limit of Cores in a running gateway: waiting, rejected and abandoned requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.runtime.services.gateway.conftest import Gateway, Reply

pytestmark = pytest.mark.requirement("CG-11")

PATIENCE_S = 60


@pytest.fixture
async def limited(
    gateway: Gateway, docs: Any, start: Any, database: Any, redis_url: str
) -> Callable[..., Gateway]:
    """Starts a gateway that sends one request at a time to a Core."""

    def begin(**more: str) -> Gateway:
        settings = {"GATEHOUSE_CORE_REQUESTS_MAX": "1", "GATEHOUSE_CORE_QUEUE_MAX": "1", **more}
        _, port, _ = start(database.app_url, redis_url, **settings)
        return gateway.on_port(port)

    return begin


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.005)


def get(client: Gateway, key: Any, path: str) -> asyncio.Task[Reply]:
    return asyncio.create_task(
        client.request("GET", f"/cores/docs{path}", f"X-API-Key: {key.token}")
    )


@pytest.mark.bound("core_requests_max", "core_queue_max")
async def test_requests_wait_and_are_rejected_when_the_queue_is_full(
    gateway: Gateway, core: Any, limited: Any
) -> None:
    client = limited(GATEHOUSE_CORE_QUEUE_TIMEOUT_S="60")
    key = await gateway.create_key()
    first = get(client, key, "/slow")
    await until(lambda: _is(len(core.requests) == 1))
    second = get(client, key, "/second")
    await until(lambda: _has_metric(client, "gatehouse_core_queue", 1))
    third = await get(client, key, "/third")
    assert (third.status, third.json["code"], third.header("retry-after")) == (
        503,
        "core_overloaded",
        "1",
    )
    assert third.header("ratelimit") is not None
    assert await client.metric('gatehouse_core_errors_total{code="core_overloaded"}') == 1
    core.resume.set()
    assert [(await reply).body for reply in (first, second)] == [b"firstsecond", b"hello"]
    assert [line for line, _, _ in core.requests] == ["GET /slow HTTP/1.1", "GET /second HTTP/1.1"]
    assert await client.metric("gatehouse_core_queue") == 0


@pytest.mark.bound("core_queue_timeout_s")
async def test_wait_in_the_queue_is_bounded(gateway: Gateway, core: Any, limited: Any) -> None:
    client, key = limited(GATEHOUSE_CORE_QUEUE_TIMEOUT_S="0.05"), await gateway.create_key()
    first = get(client, key, "/slow")
    await until(lambda: _is(len(core.requests) == 1))
    second = await get(client, key, "/second")
    assert (second.status, second.json["code"]) == (503, "core_overloaded")
    core.resume.set()
    assert (await first).status == 200


async def test_client_that_disconnects_leaves_the_queue(
    gateway: Gateway, core: Any, limited: Any
) -> None:
    client, key = limited(GATEHOUSE_CORE_QUEUE_TIMEOUT_S="60"), await gateway.create_key()
    first = get(client, key, "/slow")
    await until(lambda: _is(len(core.requests) == 1))
    second = get(client, key, "/second")
    await until(lambda: _has_metric(client, "gatehouse_core_queue", 1))
    second.cancel()
    await until(lambda: _has_metric(client, "gatehouse_core_queue", 0))
    third = get(client, key, "/third")
    core.resume.set()
    assert [(await reply).body for reply in (first, third)] == [b"firstsecond", b"hello"]
    assert [line for line, _, _ in core.requests] == ["GET /slow HTTP/1.1", "GET /third HTTP/1.1"]


async def _is(value: bool) -> bool:
    return value


async def _has_metric(client: Gateway, name: str, value: float) -> bool:
    return await client.metric(name) == value
