"""Limits that several key families share, beside their own."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import Charge
from gatehouse.features.verification.rate_limiters import RateLimits

from tests.runtime.features.verification.test_rate_limiters import close, command, limiter


def limit(burst: int, name: str = "requests") -> RateLimit:
    return RateLimit(name=name, quota=burst, window_s=86_400, burst=burst)


OWN, SHARED = limit(1_000), limit(5, "customer.requests")


def charge(
    shared_subject: str,
    *,
    subject: str = "",
    own: RateLimit = OWN,
    shared: RateLimit = SHARED,
    cost: int = 1,
) -> Charge:
    return Charge(subject or uuid.uuid4().hex, (own,), cost, ((shared_subject, (shared,)),))


async def allowed(limits: RateLimits, request: Charge) -> bool:
    return not any(state.exceeded for state in await limits.take(request))


@pytest.fixture(params=["memory", "redis"])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[RateLimits]:
    if request.param == "memory":
        yield RateLimits()
        return
    started = limiter(request.getfixturevalue("redis_url"))
    await started.start()
    yield started
    await close(started)


@pytest.mark.parametrize("burst", [5, 500])
async def test_subjects_together_use_the_shared_limit(limits: RateLimits, burst: int) -> None:
    customer, shared = f"@{uuid.uuid4().hex}", limit(burst, "customer.requests")
    subjects = [uuid.uuid4().hex for _ in range(3)]
    results = await asyncio.gather(
        *(
            allowed(limits, charge(customer, subject=subjects[n % 3], shared=shared))
            for n in range(burst + 30)
        )
    )
    assert sum(results) == burst
    other = charge(f"@{uuid.uuid4().hex}", subject=subjects[0], shared=shared)
    assert await allowed(limits, other)


async def test_denial_by_either_limit_counts_against_neither(limits: RateLimits) -> None:
    customer, small, subject = f"@{uuid.uuid4().hex}", limit(2), uuid.uuid4().hex
    first = charge(customer, subject=subject, own=small)
    assert [await allowed(limits, first) for _ in range(4)] == [True, True, False, False]
    second = charge(customer)
    assert [await allowed(limits, second) for _ in range(5)] == [True] * 3 + [False] * 2
    states = await limits.take(charge(customer, subject=second.subject, cost=0))
    assert [state.remaining for state in states] == [997, 0]
    names = [(state.limit.name, state.exceeded) for state in await limits.take(second)]
    assert names == [("requests", False), ("customer.requests", True)]


async def test_workers_exceed_the_shared_limit_by_a_tenth_of_the_burst_each(redis_url: str) -> None:
    customer, shared = f"@{uuid.uuid4().hex}", limit(300, "customer.requests")
    workers = [limiter(redis_url) for _ in range(3)]
    for worker in workers:
        await worker.start()
    results = await asyncio.gather(
        *(allowed(workers[n % 3], charge(customer, shared=shared)) for n in range(600))
    )
    assert 300 <= sum(results) <= 300 + 3 * 30
    for worker in workers:
        await close(worker)
    # Reported when they ended. Another worker allows nothing beyond its own share.
    late = limiter(redis_url)
    await late.start()
    assert not await allowed(late, charge(customer, shared=shared, cost=31))
    await close(late)


async def test_purge_of_a_customer_removes_its_counters_only(redis_url: str) -> None:
    worker, id = limiter(redis_url), uuid.uuid4().hex[:12]
    await worker.start()
    await worker.take(charge(f"@{id}", subject=id))
    await worker._finish_calls()
    await close(worker)
    worker = limiter(redis_url)
    assert await worker.forget(f"@{id}")
    left = command(redis_url, "KEYS", f"*{id}*")
    assert [name.decode().rpartition("}:")[2] for name in left] == [f"requests:{id}"]
    await close(worker)
