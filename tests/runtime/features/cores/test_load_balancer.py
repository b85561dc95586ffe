"""Selection of an instance."""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Self, cast

import msgspec
import pytest
from gatehouse.core.cores import CoreRecord
from gatehouse.core.errors import CoreCircuitOpen, CoreUnreachable
from gatehouse.features.cores.circuit_breaker import CircuitState
from gatehouse.features.cores.load_balancer import Attempt, LoadBalancer
from gatehouse.platform.http_client.upstream import SystemResolver, UpstreamClients, UpstreamRequest

from tests.runtime.core_records import instance
from tests.runtime.platform.http.test_protocol import freed_connections

pytestmark = pytest.mark.requirement("CG-11")

GET = UpstreamRequest("GET", "/x", [], None)
POST = UpstreamRequest("POST", "/x", [], b"question")


REQUESTS_MAX = 4

A, B, C = instance("a"), instance("b"), instance("c")


@dataclass
class Upstream:
    down: set[str] = field(default_factory=set)
    status: int = 200

    def send(
        self, url: str, request: UpstreamRequest, subject: str, on_connect: Callable[[], None]
    ) -> Any:
        return _Sending(self.status, url in self.down, on_connect)


@dataclass
class _Sending:
    status: int
    is_down: bool
    on_connect: Callable[[], None]
    is_sent: bool = False

    async def __aenter__(self) -> Self:
        if self.is_down:
            raise CoreUnreachable
        self.on_connect()
        self.is_sent = True
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


@dataclass
class Harness:
    now: float = 100.0
    upstream: Upstream = field(default_factory=Upstream)
    transitions: list[tuple[str, CircuitState]] = field(default_factory=list)
    retries: list[bool] = field(default_factory=list)
    balancer: LoadBalancer = field(init=False)

    def __post_init__(self) -> None:
        self.balancer = LoadBalancer(
            cast("UpstreamClients", self.upstream),
            REQUESTS_MAX,
            lambda: self.now,
            failures_max=2,
            reset_s=5.0,
            retry_share=0.1,
            on_transition=lambda core, state: self.transitions.append((core.instance_id, state)),
            on_retry=self.retries.append,
        )

    async def request(self, core: CoreRecord, request: UpstreamRequest = GET) -> None:
        async with self.balancer.send(core, request):
            pass

    async def open(self, core: CoreRecord) -> None:
        self.upstream.down.add(core.url)
        for _ in range(2):
            with pytest.raises(CoreUnreachable):
                await self.request(core)

    def selected(self, *instances: CoreRecord, request: UpstreamRequest = GET) -> set[str]:
        return {self.balancer.select(instances, request).instance_id for _ in range(200)}


async def test_instance_with_fewest_requests_is_selected() -> None:
    harness = Harness()
    async with AsyncExitStack() as stack:
        for core in (A, A, B, B, C):
            await stack.enter_async_context(harness.balancer.send(core, GET))
        assert harness.selected(A, B, C) == {"c"}
        await stack.enter_async_context(harness.balancer.send(C, GET))
        assert harness.selected(A, B, C) == {"a", "b", "c"}
    assert harness.selected(A, B, C) == {"a", "b", "c"}


async def test_unhealthy_instance_is_selected_only_if_no_other_is_available() -> None:
    harness, unhealthy = Harness(), instance("b", healthy=False)
    async with AsyncExitStack() as stack:
        for _ in range(REQUESTS_MAX):
            assert harness.selected(A, unhealthy) == {"a"}
            await stack.enter_async_context(harness.balancer.send(A, GET))
        assert harness.selected(A, unhealthy) == {"b"}
        other = msgspec.structs.replace(GET, sender="other")  # for which a request of A can end
        assert harness.selected(A, unhealthy, request=other) == {"a"}
        assert harness.selected(A, B, request=other) == {"b"}
    assert harness.selected(unhealthy) == {"b"}
    assert harness.selected(instance("a", healthy=False), unhealthy) == {"a", "b"}


async def test_instance_with_an_open_circuit_breaker_is_not_selected() -> None:
    harness = Harness()
    await harness.open(A)
    assert harness.selected(A, B) == {"b"}
    await harness.open(B)
    with pytest.raises(CoreCircuitOpen) as error:
        harness.balancer.select((A, B), GET)
    assert error.value.retry_after_s == 5
    assert harness.transitions == [("a", CircuitState.OPEN), ("b", CircuitState.OPEN)]


async def test_instance_whose_clients_failed_is_selected_only_if_no_other_is_available() -> None:
    harness = Harness()
    harness.upstream.status = 503
    for _ in range(2):
        await harness.request(A)
    assert (harness.selected(A, B), harness.selected(A)) == ({"b"}, {"a"})
    harness.now += 5.0
    assert (harness.selected(A, B), harness.transitions) == ({"a", "b"}, [])


async def test_trial_request_to_a_half_open_instance_can_be_retried() -> None:
    harness = Harness()
    await harness.open(A)
    harness.now += 5.0
    assert harness.selected(A, B) == {"a"}
    assert harness.selected(A, B, request=POST) == {"b"}
    harness.upstream.down.clear()
    await harness.request(A)
    assert harness.transitions[-1] == ("a", CircuitState.CLOSED)
    assert harness.selected(A, B, request=POST) == {"a", "b"}


async def test_retry_uses_another_instance_and_the_budget() -> None:
    harness = Harness()
    retry, delete = harness.balancer.select_for_retry, UpstreamRequest("DELETE", "/x", [], None)
    renewed = msgspec.structs.replace(A, version=2)
    assert [retry((renewed, B), GET, A, is_sent=True) for _ in range(9)] == [B] * 9
    assert retry((A, B), POST, A, is_sent=False) is None
    assert retry((A, B), delete, A, is_sent=True) is None
    await harness.open(A)
    await harness.open(B)
    assert retry((A, B), GET, A, is_sent=True) is None
    assert harness.retries == [True] * 9


@pytest.mark.parametrize("change", [{"lease_id": "new"}, {"url": "http://moved"}])
async def test_new_lease_or_url_starts_with_a_closed_circuit(change: dict[str, str]) -> None:
    harness = Harness()
    await harness.open(A)
    assert harness.selected(msgspec.structs.replace(A, **change)) == {"a"}


async def test_state_of_ended_instances_is_removed() -> None:
    harness = Harness()
    await harness.open(A)
    await harness.request(B)
    assert harness.balancer.count_open(lambda _: (A, B)) == 1
    assert harness.balancer.count_open(lambda _: (B,)) == 0
    assert harness.selected(A) == {"a"}


async def test_requests_are_reported_with_the_state_of_the_circuit_breaker() -> None:
    harness = Harness()
    await harness.open(A)
    await harness.request(B)
    find = {"docs": (A, B)}.__getitem__
    reports = harness.balancer.end_interval(find)
    assert [
        (report.instance_id, report.state, report.requests, report.failures) for report in reports
    ] == [("a", CircuitState.OPEN, 2, 2), ("b", CircuitState.CLOSED, 1, 0)]
    harness.now += 5
    assert harness.balancer.end_interval(find)[0].state is CircuitState.HALF_OPEN
    assert [report.instance_id for report in harness.balancer.end_interval(lambda name: (B,))] == [
        "b"
    ]


async def test_request_is_freed_without_garbage_collection() -> None:
    upstream: Any = UpstreamClients(SystemResolver(), ())
    balancer = Harness(upstream=upstream).balancer
    async with freed_connections(Attempt):
        with suppress(CoreUnreachable):
            async with balancer.send(msgspec.structs.replace(A, url="http://127.0.0.1"), GET):
                pass
