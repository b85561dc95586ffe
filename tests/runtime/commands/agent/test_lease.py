"""Lease of an agent."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from gatehouse.commands.agent import lease
from gatehouse.commands.agent.app import GatewaySecrets
from gatehouse.commands.agent.lease import WAIT_S, WAIT_S_MAX, Lease, Registration
from gatehouse.core.errors import Conflict, Forbidden, Unauthorized
from gatehouse_client.transport import backoff_s
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = {"basic_auth": True}
NEW = {"instance_id": "one", "settings": SETTINGS}
GRANTED = {"lease_id": "L1", "core_secret": "s3cret", "heartbeat_s": 0.001, "name": "docs"}
RENEWED = {"lease_id": "L1", "heartbeat_s": 0.001, "name": "docs"}


@pytest.fixture(autouse=True)
def short_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S_MIN", 0.001)


async def never_ending() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


@dataclass
class Gateway:
    responses: list[tuple[int, Any]]
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    secrets: GatewaySecrets = field(default_factory=GatewaySecrets)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer token"
        content = json.loads(request.content) if request.content else None
        self.requests.append((request.method, str(request.url), content))
        if request.method == "DELETE":
            return httpx.Response(204)
        status, body = self.responses.pop(0)
        if not self.responses:
            self.stop.set()
        if status == 0:
            raise httpx.ConnectError("refused")
        if status == 206:
            return httpx.Response(200, content=never_ending())
        return httpx.Response(status, json=body)

    @asynccontextmanager
    async def lease(self, url: Callable[[], str] = lambda: "http://core:1") -> AsyncIterator[Lease]:
        registration = Registration(
            "https://gateway.test", "token", "docs", "one", 30, 7, url, settings=SETTINGS
        )
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as client:
            yield Lease(registration, self.secrets, self.lines.append, client=client)

    async def run(self, url: Callable[[], str] = lambda: "http://core:1") -> None:
        async with self.lease(url) as lease:
            await lease.run(self.stop)
            await lease.drain()
            await lease.release()


async def test_lease_is_acquired_renewed_and_released() -> None:
    gateway = Gateway([(200, GRANTED), (200, RENEWED)])
    await gateway.run()
    url = "https://gateway.test/v1/cores/docs"
    assert gateway.requests == [
        ("PUT", url, {"url": "http://core:1", "ttl_s": 30, **NEW}),
        ("PUT", url, {"lease_id": "L1", "url": "http://core:1", "ttl_s": 30}),
        ("DELETE", f"{url}?lease_id=L1&drain_s=7", None),
        ("DELETE", f"{url}?lease_id=L1&drain_s=0", None),
    ]
    assert gateway.secrets.matches("s3cret")


@pytest.mark.bound("agent.lease:HEARTBEAT_S_MIN")
@pytest.mark.parametrize("heartbeat_s", [0.0009, 0, -1, 31])
async def test_gateway_cannot_choose_an_interval_without_bounds(heartbeat_s: float) -> None:
    gateway = Gateway([(200, {**GRANTED, "heartbeat_s": heartbeat_s})])
    async with gateway.lease() as lease:
        assert await lease._heartbeat() == 10


async def test_heartbeat_sends_a_changed_url() -> None:
    addresses = iter(["http://core:1", "http://core:2"])
    gateway = Gateway([(200, GRANTED), (200, RENEWED)])
    await gateway.run(lambda: next(addresses))
    assert gateway.requests[1][2]["url"] == "http://core:2"
    assert "docs is now reachable at http://core:2" in gateway.lines


async def test_lost_lease_is_reacquired_with_a_new_secret() -> None:
    again = {**GRANTED, "lease_id": "L2", "core_secret": "other"}
    gateway = Gateway([(200, GRANTED), (409, {"code": "conflict", "detail": "lost"}), (200, again)])
    await gateway.run()
    assert gateway.requests[2][2] == {"url": "http://core:1", "ttl_s": 30, **NEW}
    assert gateway.requests[3][1].endswith("lease_id=L2&drain_s=7")
    assert gateway.secrets.matches("other")


async def test_agent_that_an_operator_drained_does_not_register_again() -> None:
    drained = {"code": "core_drained", "detail": "drained"}
    gateway = Gateway([(200, GRANTED), (409, drained), (200, GRANTED)])
    await gateway.run()
    assert [method for method, _, _ in gateway.requests] == ["PUT", "PUT", "DELETE", "DELETE"]
    assert (
        "an operator drained instance one of docs, or another agent registered the same URL"
        in gateway.lines
    )


@pytest.mark.bound("agent.lease:TIMEOUT_S")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (0, None),
        (503, {"detail": "away"}),
        (502, "x"),
        (429, {}),
        (200, ["not a lease"]),
        (206, None),
        (200, {"lease_id": 5}),
    ],
)
async def test_unavailable_gateway_is_retried(
    status: int, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if status == 206:
        monkeypatch.setattr(lease, "TIMEOUT_S", 0)
    gateway = Gateway([(status, body)])
    await gateway.run()
    assert "retrying in" in gateway.lines[0]
    assert [method for method, _, _ in gateway.requests] == ["PUT"]


@pytest.mark.parametrize(
    ("status", "error"), [(401, Unauthorized), (403, Forbidden), (400, Forbidden), (409, Conflict)]
)
async def test_permanent_error_stops_the_agent(status: int, error: type[Exception]) -> None:
    gateway = Gateway([(status, {"code": "error", "detail": "no"}), (200, GRANTED)])
    with pytest.raises(error, match="no"):
        await gateway.run()


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_backoff_is_exponential_and_bounded(failures: int, chance: float) -> None:
    wait = partial(backoff_s, wait_s=WAIT_S, wait_s_max=WAIT_S_MAX)
    assert 0.5 <= wait(failures, chance) <= WAIT_S_MAX
    assert wait(failures, chance) <= wait(failures + 1, 1.0)
