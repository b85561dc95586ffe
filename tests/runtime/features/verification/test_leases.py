"""Leases of rate limits: never more requests than the limit allows, no lost requests, and few Redis
calls.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import AsyncMock

import pytest
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import Charge
from gatehouse.features.verification import leases, rate_limiters
from gatehouse.features.verification.leases import Leases
from gatehouse.features.verification.rate_limiters import RedisRateLimits
from gatehouse.platform.redis.connection import redis_login
from hypothesis import given
from hypothesis import strategies as st

THOUSAND = RateLimit(name="requests", quota=1000, window_s=86_400, burst=1000)
NINE = RateLimit(name="requests", quota=9, window_s=86_400, burst=9)


def charge(limit: RateLimit = THOUSAND, cost: int = 1) -> Charge:
    return Charge(subject=uuid.uuid4().hex, limits=(limit,), cost=cost)


@asynccontextmanager
async def workers(redis_url: str, count: int) -> AsyncIterator[list[RedisRateLimits]]:
    started = [
        RedisRateLimits(redis_login(redis_url, "url"), timeout_s=10, on_error="deny")
        for _ in range(count)
    ]
    for worker in started:
        await worker.start()
    try:
        yield started
    finally:
        for worker in started:
            await worker.close()


async def remaining(redis_url: str, request: Charge) -> int:
    """The number of requests that Redis still allows, seen by another worker."""
    async with workers(redis_url, 1) as [other]:
        (state,) = await other.take(Charge(subject=request.subject, limits=request.limits, cost=0))
    return state.remaining


async def allowed(worker: RedisRateLimits, request: Charge, count: int) -> int:
    """Number of allowed requests out of `count` successive requests."""
    states = [(await worker.take(request))[0] for _ in range(count)]
    return sum(not state.exceeded for state in states)


async def test_a_lease_that_arrives_during_the_stop_is_returned(redis_url: str) -> None:
    request = charge()
    async with workers(redis_url, 1) as [worker]:
        used = 0
        while (
            worker._batches._task is None
        ):  # until the worker asks for a lease without waiting for the reply
            await worker.take(request)
            used += 1
            assert used < 1000
    assert await remaining(redis_url, request) == 1000 - used


@pytest.mark.requirement("CG-06")
async def test_workers_allow_the_limit_exactly_and_return_the_rest(redis_url: str) -> None:
    request = charge()
    async with workers(redis_url, 3) as started:
        counts = await asyncio.gather(*(allowed(worker, request, 150) for worker in started))
        assert counts == [150, 150, 150]
    assert await remaining(redis_url, request) == 550
    async with workers(redis_url, 3) as started:
        counts = await asyncio.gather(*(allowed(worker, request, 400) for worker in started))
        assert 1000 - 450 - 3 * 100 <= sum(counts) <= 1000 - 450
    assert await remaining(redis_url, request) == 1000 - 450 - sum(counts)


@pytest.mark.requirement("CG-06")
async def test_small_limits_are_never_leased(redis_url: str) -> None:
    request = charge(NINE)
    async with workers(redis_url, 2) as (first, second):
        states = [(await worker.take(request))[0] for worker in (first, second) * 6]
    assert [state.exceeded for state in states] == [False] * 9 + [True] * 3
    assert [state.remaining for state in states[:9]] == list(range(8, -1, -1))


async def test_most_requests_of_a_busy_key_do_not_wait_for_redis(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (leases, rate_limiters):
        # A lease that expires is another request to Redis.
        monkeypatch.setattr(module, "LEASE_S", 600.0)
    request = charge()
    async with workers(redis_url, 1) as [worker]:
        evaluate = AsyncMock(side_effect=worker._batches.connection.evaluate)
        monkeypatch.setattr(worker._batches.connection, "evaluate", evaluate)
        states = [(await worker.take(request))[0] for _ in range(500)]
        assert [state.remaining for state in states] == list(range(999, 499, -1))
        assert not any(state.degraded or state.exceeded for state in states)
        assert evaluate.await_count < 40


async def test_request_after_a_pause_leases_nothing(redis_url: str) -> None:
    request = charge()
    async with workers(redis_url, 1) as [worker]:
        await worker.take(request)
        assert await remaining(redis_url, request) == 999


async def test_unused_requests_are_returned_when_the_lease_expires(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (leases, rate_limiters):
        monkeypatch.setattr(module, "LEASE_S", 0.1)
    request = charge()
    async with workers(redis_url, 1) as [worker]:
        await allowed(worker, request, 100)
        async with asyncio.timeout(60):
            while await remaining(redis_url, request) != 900:
                await asyncio.sleep(0.01)


async def test_other_costs_are_counted_beside_a_lease(redis_url: str) -> None:
    request = charge()
    async with workers(redis_url, 1) as [worker]:
        await allowed(worker, request, 100)
        (state,) = await worker.take(
            Charge(subject=request.subject, limits=request.limits, cost=50)
        )
        assert state.remaining == 850
        (state,) = await worker.take(request)
        assert state.remaining == 849
    assert await remaining(redis_url, request) == 849


async def test_changed_limit_is_counted_at_once(redis_url: str) -> None:
    request = charge()
    limit = RateLimit(name="requests", quota=1000, window_s=86_400, burst=100)
    smaller = Charge(subject=request.subject, limits=(limit,), cost=1)
    async with workers(redis_url, 1) as [worker]:
        assert await allowed(worker, request, 200) == 200
        (state,) = await worker.take(smaller)
        assert state.exceeded is True


@given(
    st.lists(
        st.tuples(st.sampled_from(["use", "want", "add", "end"]), st.integers(0, 50)), max_size=60
    )
)
def test_leased_requests_are_used_or_returned_once(steps: list[tuple[str, int]]) -> None:
    request, held, now, added, used, returned = charge(), Leases(), 0.0, 0, 0, 0
    for step, value in steps:
        now += value / 40
        if step == "use":
            used += held.use(request, now) is not None
        elif step == "want":
            assert 0 <= held.wanted(request, now) <= 100
        elif step == "add":
            held.add(request, value, now)
            added += value
        else:
            returned += sum(count for _, count in held.end(now))
        assert held.unused(request) == added - used - returned
    returned += sum(count for _, count in held.clear())
    assert added == used + returned
    assert len(held) == 0


def test_lease_is_not_used_after_its_end() -> None:
    request, held = charge(), Leases()
    held.add(request, 5, now=10.0)
    assert held.use(request, 10.9) is not None
    assert held.use(request, 11.0) is None
    assert held.end(11.0) == [(request, 4)]


@pytest.mark.bound("verification.leases:FAMILIES_MAX")
def test_number_of_leases_is_bounded() -> None:
    held = Leases()
    for _ in range(leases.FAMILIES_MAX + 5):
        held.wanted(charge(), now=0.0)
    assert len(held) == leases.FAMILIES_MAX


@pytest.mark.bound("verification.leases:LEASE_MAX")
def test_size_of_a_lease_is_bounded() -> None:
    """The requests after the last request of a lease are counted in Redis."""
    million = RateLimit(name="requests", quota=1_000_000, window_s=60, burst=1_000_000)
    request, held, used = charge(million), Leases(), []
    assert held.wanted(request, now=0.0) == 0
    for _ in range(15):
        held.add(request, held.wanted(request, now=0.0), now=0.0)
        used.append(0)
        while held.use(request, now=0.0):
            used[-1] += 1
    assert used[:3] == [1, 2, 4]
    assert used[-5:] == [leases.LEASE_MAX] * 5
