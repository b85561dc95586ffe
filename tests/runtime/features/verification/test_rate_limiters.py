"""Rate limits, also with failures of Redis and workers."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import AsyncMock

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import Charge, RateLimitState
from gatehouse.features.verification import rate_limiters
from gatehouse.features.verification.rate_limiters import BATCH_MAX, KEY_PREFIX, RateLimits
from gatehouse.platform.redis.connection import Redis
from gatehouse.platform.settings import OnError
from valkey import Valkey

from sandbox.local import servers
from tests.runtime.server_processes import redis_pid, suspended
from tests.runtime.waiting import until

FIVE = RateLimit(name="requests", quota=5, window_s=3600, burst=5)
TWO = RateLimit(name="writes", quota=2, window_s=3600, burst=2)
THOUSAND = RateLimit(name="requests", quota=1000, window_s=86_400, burst=1000)


def charge(*limits: RateLimit, subject: str = "", cost: int = 1) -> Charge:
    return Charge(subject=subject or uuid.uuid4().hex, limits=limits, cost=cost)


def limiter(
    url: str, on_error: OnError = "local", reasons: list[str] | None = None, timeout_s: float = 20
) -> RateLimits:
    reasons = [] if reasons is None else reasons
    redis = Redis(url, "url", timeout_s=timeout_s)
    return RateLimits(redis, on_error=on_error, on_degraded=reasons.append)


@contextmanager
def short_timeout(limits: RateLimits) -> Iterator[None]:
    """While Redis does not respond. Before and afterwards, a busy machine has time."""
    assert limits._redis is not None
    before, limits._redis.timeout_s = limits._redis.timeout_s, 0.05
    yield
    limits._redis.timeout_s = before


async def close(limits: RateLimits) -> None:
    await limits.close()
    assert limits._redis is not None
    await limits._redis.close()


def command(url: str, *parts: str | bytes) -> Any:
    with Valkey.from_url(servers.administrator(url)) as client:
        return client.execute_command(*parts)


@pytest.fixture
async def redis_limits(redis_url: str) -> AsyncIterator[RateLimits]:
    started = limiter(redis_url)
    await started.start()
    yield started
    await close(started)


@pytest.fixture(params=["memory", "redis"])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[RateLimits]:
    if request.param == "memory":
        yield RateLimits()
        return
    redis_limits = limiter(request.getfixturevalue("redis_url"))
    await redis_limits.start()
    yield redis_limits
    await close(redis_limits)


async def test_burst_is_allowed_then_retry_after_is_set(limits: RateLimits) -> None:
    request = charge(FIVE)
    for left in (4, 3, 2, 1, 0):
        (state,) = await limits.take(request)
        assert (state.exceeded, state.remaining, state.retry_after_s) == (False, left, 0)
    (state,) = await limits.take(request)
    assert (state.exceeded, state.remaining) == (True, 0)
    assert 660 < state.retry_after_s <= 720


async def test_denial_by_one_limit_consumes_nothing_of_the_other(limits: RateLimits) -> None:
    both = charge(FIVE, TWO)
    await limits.take(both)
    await limits.take(both)
    five, two = await limits.take(both)
    assert (five.exceeded, five.remaining) == (False, 3)
    assert two.exceeded
    (state,) = await limits.take(charge(FIVE, subject=both.subject))
    assert state.remaining == 2


async def test_cost_zero_consumes_nothing(limits: RateLimits) -> None:
    read_only = charge(FIVE, cost=0)
    for _ in range(10):
        (state,) = await limits.take(read_only)
        assert (state.exceeded, state.remaining) == (False, 5)


def limit_of(quota: int, window_s: int, burst: int = 0) -> RateLimit:
    return RateLimit("requests", quota, window_s, burst or quota)


DAY_S = 86_400


@pytest.mark.parametrize(
    ("uses", "last", "left"),
    [
        ([(limit_of(1, DAY_S), 1)], limit_of(10, DAY_S), 9),
        ([(limit_of(2, 3600), 2)], limit_of(1000, 3600), 998),
        ([(limit_of(10, 3600), 9), (limit_of(20, 3600), 7)], limit_of(100, 3600), 84),
        ([(limit_of(1000, 3600), 900)], limit_of(100, 3600), 0),
        ([(limit_of(1000, 3600), 900)], limit_of(910, 86_400), 10),
        ([(limit_of(1000, 3600), 900)], limit_of(1000, 3600, 901), 1),
        ([(limit_of(50, DAY_S), 40)], limit_of(60, 31 * DAY_S), 20),
    ],
)
async def test_changed_limit_has_as_many_units_less_as_were_used(
    limits: RateLimits, uses: list[tuple[RateLimit, int]], last: RateLimit, left: int
) -> None:
    subject = uuid.uuid4().hex
    for limit, units in uses:
        (state,) = await limits.take(charge(limit, subject=subject, cost=units))
        assert not state.exceeded
    if left:
        (state,) = await limits.take(charge(last, subject=subject, cost=left))
        assert (state.exceeded, state.remaining) == (False, 0)
    (state,) = await limits.take(charge(last, subject=subject))
    assert (state.exceeded, state.remaining) == (True, 0)


async def test_raised_limit_returns_units_at_its_rate_at_once(
    redis_limits: RateLimits, redis_url: str
) -> None:
    low, high = limit_of(1, DAY_S), limit_of(1000, DAY_S, 1)
    request = charge(low)
    await redis_limits.take(request)
    for _ in range(2):
        (state,) = await redis_limits.take(charge(high, subject=request.subject))
        assert state.exceeded
        assert state.retry_after_s <= DAY_S / 1000
    assert (await stored_state(redis_url, request)).retry_after_s <= DAY_S / 1000


async def test_lowered_limit_denies_no_longer_than_the_earlier_limit_was_used(
    limits: RateLimits,
) -> None:
    request = charge(limit_of(1000, 3600), cost=900)
    await limits.take(request)
    for _ in range(2):
        (state,) = await limits.take(charge(limit_of(1, DAY_S), subject=request.subject))
        assert (state.exceeded, state.remaining) == (True, 0)
        assert state.retry_after_s <= 0.9 * 3600


async def test_workers_that_know_different_definitions_count_the_same_units(redis_url: str) -> None:
    """For example, while a change of the key spreads, or two keys of a family differ."""
    subject, workers = uuid.uuid4().hex, [limiter(redis_url), limiter(redis_url)]
    high, low = limit_of(9, 3600), limit_of(5, DAY_S)
    requests = [charge(limit, subject=subject) for limit in (high, low)]
    states = [
        (await worker.take(request))[0]
        for _ in range(10)
        for worker, request in zip(workers, requests, strict=True)
    ]
    for worker in workers:
        await close(worker)
    assert sum(not state.exceeded for state in states) == 9
    assert sum(not state.exceeded for state in states[1::2]) == 2
    assert await remaining(redis_url, requests[0]) == 0


async def test_used_up_limit_stays_used_up_without_redis() -> None:
    with servers.redis() as url:
        pid = redis_pid(url)
        redis_limits = limiter(url)
        request = charge(FIVE)
        states = [(await redis_limits.take(request))[0] for _ in range(6)]
        assert [state.exceeded for state in states] == [False] * 5 + [True]
        assert redis_limits._redis is not None
        redis_limits._redis.timeout_s = 0.25
        with suspended(pid):
            before = [(await redis_limits.take(request))[0] for _ in range(3)]
            assert (await redis_limits.take(charge(TWO)))[0].degraded
            after = [(await redis_limits.take(request))[0] for _ in range(3)]
        await close(redis_limits)
    assert [(state.exceeded, state.degraded) for state in before] == [(True, False)] * 3
    assert [(state.exceeded, state.degraded) for state in after] == [(True, True)] * 3


async def test_concurrent_requests_never_exceed_limit(limits: RateLimits) -> None:
    request = charge(RateLimit(name="requests", quota=100, window_s=3600, burst=100))
    states = await asyncio.gather(*(limits.take(request) for _ in range(500)))
    assert sum(not state.exceeded for (state,) in states) == 100


async def stored_state(redis_url: str, request: Charge) -> RateLimitState:
    other = limiter(redis_url, "deny")
    (state,) = await other.take(Charge(subject=request.subject, limits=request.limits, cost=0))
    await close(other)
    return state


async def remaining(redis_url: str, request: Charge) -> int:
    return (await stored_state(redis_url, request)).remaining


async def test_small_limits_are_exact(redis_url: str) -> None:
    nine = RateLimit(name="requests", quota=9, window_s=86_400, burst=9)
    request, workers = charge(nine), [limiter(redis_url), limiter(redis_url)]
    states = [(await worker.take(request))[0] for worker in workers * 6]
    for worker in workers:
        await close(worker)
    assert [state.exceeded for state in states] == [False] * 9 + [True] * 3
    assert [state.remaining for state in states[:9]] == list(range(8, -1, -1))


async def test_workers_exceed_a_limit_by_a_tenth_of_the_burst_each(redis_url: str) -> None:
    request, workers = charge(THOUSAND), [limiter(redis_url) for _ in range(3)]

    async def client(worker: RateLimits) -> int:
        allowed = 0
        for _ in range(600):
            (state,) = await worker.take(request)
            allowed += not state.exceeded
            await asyncio.sleep(0)  # other clients and replies of Redis
        return allowed

    counts = await asyncio.gather(*(client(worker) for worker in workers))
    for worker in workers:
        await close(worker)
    assert 1000 <= sum(counts) <= 1000 + 3 * 100
    assert await remaining(redis_url, request) == 0


async def test_allowed_requests_do_not_wait_until_the_share_is_used(
    redis_limits: RateLimits, redis_url: str
) -> None:
    request = charge(THOUSAND)
    for left in range(999, 899, -1):
        states = redis_limits.take_now(request)
        assert states is not None
        assert (states[0].remaining, states[0].degraded) == (left, False)
    assert redis_limits.take_now(request) is None
    (state,) = await redis_limits.take(request)
    assert (state.remaining, state.exceeded) == (899, False)
    assert await remaining(redis_url, request) == 899
    assert redis_limits.take_now(request) is not None


async def test_allowed_requests_are_reported_without_another_request(
    redis_limits: RateLimits, redis_url: str
) -> None:
    requests = [charge(THOUSAND) for _ in range(2 * BATCH_MAX)]
    for request in requests:
        assert redis_limits.take_now(request) is not None
    async with asyncio.timeout(60):
        for request in requests[0], requests[-1]:
            while await remaining(redis_url, request) != 999:
                await asyncio.sleep(0.001)


WORKER = """
import asyncio, os, sys
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import Charge, RateLimitState
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.platform.redis.connection import Redis

async def main() -> None:
    worker = RateLimits(Redis(sys.argv[1], "url", timeout_s=20))
    limit = RateLimit(name="requests", quota=1000, window_s=86_400, burst=1000)
    while True:
        (state,) = await worker.take(Charge(sys.argv[2], (limit,), 1))
        if not state.exceeded:
            os.write(1, b".")
        await asyncio.sleep(0)

asyncio.run(main())
"""


async def test_killed_worker_loses_at_most_its_share(redis_url: str) -> None:
    request = charge(THOUSAND)
    arguments = (sys.executable, "-c", WORKER, redis_url, request.subject)
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    allowed = len(await process.stdout.readexactly(400))
    process.kill()
    allowed += len(await process.stdout.read())
    await process.wait()
    counted = 1000 - await remaining(redis_url, request)
    # The worker can be killed between counting a request and writing its output.
    assert allowed - 100 <= counted <= min(allowed + 1, 1000)


async def test_requests_during_an_interruption_of_redis_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limiters, "RETRY_S", 0.01)
    request = charge(RateLimit(name="requests", quota=200, window_s=86_400, burst=200))
    with servers.redis() as url:
        pid, worker = redis_pid(url), limiter(url)

        async def take(count: int) -> int:
            return sum([not (await worker.take(request))[0].exceeded for _ in range(count)])

        allowed = await take(25)
        with suspended(pid), short_timeout(worker):
            allowed += sum(await asyncio.gather(*(take(1) for _ in range(40))))
            await until(lambda: worker.degraded)
            allowed += await take(10)
        await until(lambda: not worker.degraded)
        assert allowed == 75
        allowed += await take(200)
        await close(worker)
        state = await stored_state(url, request)
    # The requests of calls without a reply can count twice: at most those before the fallback.
    assert 200 - 25 - 40 <= allowed <= 200
    assert state.exceeded


async def test_used_up_limit_stays_used_up_if_redis_loses_its_data(
    redis_limits: RateLimits, redis_url: str
) -> None:
    request, full = charge(THOUSAND), charge(FIVE)
    states = [(await redis_limits.take(full))[0] for _ in range(6)]
    assert states[-1].exceeded
    assert redis_limits.take_now(request) is not None
    command(redis_url, "FLUSHALL")
    command(redis_url, "SCRIPT FLUSH")
    (state,) = await redis_limits.take(full)
    assert (state.exceeded, state.degraded) == (True, False)
    await close(redis_limits)
    assert await remaining(redis_url, request) == 999


async def test_setting_deny_denies_until_redis_is_available(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limiters, "RETRY_S", 0.01)
    request = charge(THOUSAND)
    with servers.redis() as url:
        pid, worker = redis_pid(url), limiter(url, "deny")
        with suspended(pid), short_timeout(worker):
            assert not (await worker.take(request))[0].exceeded  # within the allowance
            await until(lambda: worker.degraded)
            with pytest.raises(Unavailable):
                await worker.take(request)
        await until(lambda: not worker.degraded)
        (state,) = await worker.take(request)
        await close(worker)
    assert (state.remaining, state.degraded) == (998, False)


@pytest.mark.bound("verification.rate_limiters:BATCH_MAX")
async def test_calls_beyond_a_batch_are_sent_in_another_batch(
    redis_limits: RateLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert redis_limits._script is not None
    script = AsyncMock(side_effect=redis_limits._script.__call__)
    monkeypatch.setattr(redis_limits, "_script", script)
    states = await asyncio.gather(
        *(redis_limits.take(charge(FIVE)) for _ in range(2 * BATCH_MAX + 1))
    )
    assert not any(state.degraded or state.exceeded for (state,) in states)
    assert [len(call.args[0]) for call in script.await_args_list] == [BATCH_MAX, BATCH_MAX, 1]


@pytest.mark.bound(
    "verification.rate_limiters:START_TIMEOUT_S", "verification.rate_limiters:FORGET_TIMEOUT_S"
)
async def test_start_and_purge_do_not_wait_for_a_silent_redis(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("START_TIMEOUT_S", "FORGET_TIMEOUT_S"):
        monkeypatch.setattr(rate_limiters, name, 0.1)
    redis_limits = limiter(f"redis://127.0.0.1:{silent_port}")
    async with asyncio.timeout(60):
        await redis_limits.start()
        assert redis_limits.degraded
        assert await redis_limits.forget("purged000000") is False
    await close(redis_limits)


async def test_counter_name_has_limit_and_subject_and_expires(
    redis_limits: RateLimits, redis_url: str
) -> None:
    request = charge(FIVE)
    await redis_limits.take(request)
    left = command(redis_url, "PTTL", f"{KEY_PREFIX}{{0}}:requests:{request.subject}")
    assert isinstance(left, int)
    assert 0 < left <= 722_000


async def test_cancelled_request_does_not_affect_others(redis_limits: RateLimits) -> None:
    tasks = [asyncio.create_task(redis_limits.take(charge(FIVE))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, tuple) and not result[0].degraded for result in results[1::2])


async def test_without_redis_states_are_degraded(
    monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setattr(rate_limiters, "RETRY_S", 0.001)
    reasons: list[str] = []
    redis_limits = limiter(f"redis://127.0.0.1:{closed_port}", reasons=reasons)
    assert redis_limits._script is not None
    script = AsyncMock(side_effect=redis_limits._script.__call__)
    monkeypatch.setattr(redis_limits, "_script", script)
    await redis_limits.start()
    request = charge(TWO)
    states = [await redis_limits.take(request) for _ in range(3)]
    await until(lambda: script.await_count >= 3)
    await close(redis_limits)
    assert [state.exceeded for (state,) in states] == [False, False, True]
    assert all(state.degraded for (state,) in states)
    assert reasons == ["ConnectionError"]


@pytest.mark.bound("limit_timeout_ms")
async def test_hanging_redis_fails_no_request() -> None:
    """That of a killed Redis: tests/runtime/services/gateway/test_process.py."""
    with servers.redis() as url:
        pid = redis_pid(url)
        redis_limits = limiter(url, timeout_s=0.25)
        await redis_limits.start()
        request = charge(RateLimit(name="requests", quota=1_000_000, window_s=1, burst=1_000_000))

        async def traffic() -> list[bool]:
            return [(await redis_limits.take(request))[0].degraded for _ in range(200)]

        running = [asyncio.create_task(traffic()) for _ in range(10)]
        await redis_limits.take(request)
        os.kill(pid, signal.SIGSTOP)
        degraded_states = [degraded for task in running for degraded in await task]
        await until(lambda: redis_limits.degraded)
        (after,) = await redis_limits.take(request)
        await close(redis_limits)
        os.kill(pid, signal.SIGCONT)
    assert len(degraded_states) == 2000
    assert after.degraded


@pytest.mark.bound("verification.rate_limiters:RETRY_S")
async def test_recovered_redis_counts_again(redis_limits: RateLimits, redis_url: str) -> None:
    await redis_limits.take(charge(FIVE))
    command(redis_url, "CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
    async with asyncio.timeout(60):
        while (await redis_limits.take(charge(FIVE)))[0].degraded:
            await asyncio.sleep(0.01)
    assert not redis_limits.degraded
