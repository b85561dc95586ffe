"""Rate limiters in Redis and in memory, and failures of Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import ADDITIONAL_MAX, Charge, RateLimits
from gatehouse.features.verification import rate_limiters
from gatehouse.features.verification.rate_limiters import (
    FAMILIES_MAX,
    KEY_PREFIX,
    LocalRateLimits,
    RedisRateLimits,
)
from gatehouse.platform.redis import batches
from gatehouse.platform.redis.batches import BATCH_MAX
from gatehouse.platform.redis.connection import RedisConnection, redis_login
from gatehouse.platform.settings import OnError

from sandbox.local import servers
from sandbox.ports import free_port
from tests.runtime.redis_process import redis_pid

FIVE = RateLimit(name="requests", quota=5, window_s=3600, burst=5)
TWO = RateLimit(name="writes", quota=2, window_s=3600, burst=2)


def charge(*limits: RateLimit, subject: str = "", cost: int = 1) -> Charge:
    return Charge(subject=subject or uuid.uuid4().hex, limits=limits, cost=cost)


def additional(*names: str, subject: str, cost: int = 1, window_s: int = 31 * 86_400) -> Charge:
    """A request with one limit of the key and with these limits in the request."""
    limits = tuple(
        RateLimit(name=name, quota=1000, window_s=window_s, burst=1000) for name in names
    )
    own = RateLimit(name="requests", quota=10_000, window_s=31 * 86_400, burst=10_000)
    return Charge(subject=subject, limits=(own, *limits), cost=cost, additional=len(limits))


def limiter(
    url: str, on_error: OnError = "local", reasons: list[str] | None = None, timeout_s: float = 20
) -> RedisRateLimits:
    reasons = [] if reasons is None else reasons
    return RedisRateLimits(
        redis_login(url, "url"), timeout_s=timeout_s, on_error=on_error, on_degraded=reasons.append
    )


async def command(url: str, *parts: str) -> object:
    """Reply from the server, on a separate connection."""
    connection = RedisConnection(redis_login(url, "url"))
    await connection.open(1)
    try:
        return await connection.call(parts, 1)
    finally:
        connection.close()


@pytest.fixture
async def redis_limits(redis_url: str) -> AsyncIterator[RedisRateLimits]:
    started = limiter(redis_url)
    await started.start()
    yield started
    await started.close()


@pytest.fixture(params=["memory", "redis"])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[RateLimits]:
    if request.param == "memory":
        yield LocalRateLimits()
        return
    redis_limits = limiter(request.getfixturevalue("redis_url"))
    await redis_limits.start()
    yield redis_limits
    await redis_limits.close()


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


async def test_request_may_cost_several_units(limits: RateLimits) -> None:
    request = charge(FIVE, cost=3)
    (state,) = await limits.take(request)
    assert state.remaining == 2
    (state,) = await limits.take(request)
    assert (state.exceeded, state.remaining) == (True, 2)


@pytest.mark.bound("core.verification:ADDITIONAL_MAX")
@pytest.mark.requirement("CG-06")
async def test_number_of_additional_limits_of_a_key_is_bounded(limits: RateLimits) -> None:
    subject = uuid.uuid4().hex
    states = [
        await limits.take(additional(f"name{number}", subject=subject)) for number in range(1000)
    ]
    passed = [number for number, (_, state) in enumerate(states) if not state.exceeded]
    assert passed == list(range(ADDITIONAL_MAX))
    assert all(
        state.remaining == 0 or state.retry_after_s > 0 for _, state in states[ADDITIONAL_MAX:]
    )
    own, again = await limits.take(additional("name0", subject=subject))
    assert (own.remaining, again.exceeded, again.remaining) == (
        10_000 - ADDITIONAL_MAX - 1,
        False,
        998,
    )
    (_, other) = await limits.take(additional("name999", subject=uuid.uuid4().hex))
    assert not other.exceeded


async def test_several_additional_limits_of_one_request_are_bounded(limits: RateLimits) -> None:
    subject = uuid.uuid4().hex
    states = await limits.take(
        additional(*(f"name{number}" for number in range(ADDITIONAL_MAX + 1)), subject=subject)
    )
    assert [state.exceeded for state in states] == [False] * (ADDITIONAL_MAX + 1) + [True]
    states = await limits.take(additional("other", subject=subject))
    assert not any(state.exceeded for state in states)  # the denied request consumed nothing


async def test_reading_additional_limits_stores_nothing(redis_url: str) -> None:
    subject = uuid.uuid4().hex
    redis_limits = limiter(redis_url)
    for number in range(100):
        await redis_limits.take(additional(f"name{number}", subject=subject, cost=0))
    assert await _counters(redis_url, subject) == 0
    for number in range(100):
        await redis_limits.take(additional(f"name{number}", subject=subject))
    await redis_limits.close()
    # The limit of the key, and the set of names.
    assert await _counters(redis_url, subject) == ADDITIONAL_MAX + 2


async def test_expired_additional_limits_make_room(limits: RateLimits) -> None:
    subject = uuid.uuid4().hex
    # 1 of 1,000 in a second: the counter expires after a millisecond.
    for number in range(ADDITIONAL_MAX):
        await limits.take(additional(f"name{number}", subject=subject, window_s=1))
    async with asyncio.timeout(60):
        while (await limits.take(additional("other", subject=subject)))[1].exceeded:
            await asyncio.sleep(0.001)


async def _counters(url: str, subject: str) -> int:
    reply = await command(url, "KEYS", f"{KEY_PREFIX}*:{subject}")
    assert isinstance(reply, list)
    return len(reply)


async def test_used_up_limit_stays_used_up_without_redis() -> None:
    with servers.redis() as url:
        pid = redis_pid(url)
        redis_limits = limiter(url)
        request = charge(FIVE)
        states = [(await redis_limits.take(request))[0] for _ in range(6)]
        assert [state.exceeded for state in states] == [False] * 5 + [True]
        redis_limits._batches._timeout_s = 0.25
        os.kill(pid, signal.SIGSTOP)
        try:
            hung = [(await redis_limits.take(request))[0] for _ in range(3)]
        finally:
            os.kill(pid, signal.SIGCONT)
        await redis_limits.close()
    assert [(state.exceeded, state.degraded) for state in hung] == [(True, True)] * 3


@pytest.mark.bound("verification.rate_limiters:FAMILIES_MAX")
def test_local_counters_are_bounded() -> None:
    """The least recently used counter is removed."""
    limits, once = (
        LocalRateLimits(),
        RateLimit(name="requests", quota=1, window_s=31 * 86_400, burst=1),
    )

    def is_allowed(subject: str) -> bool:
        (state,) = limits.take_now(charge(once, subject=subject))
        return not state.exceeded

    assert [is_allowed("first"), is_allowed("second"), is_allowed("first")] == [True, True, False]
    for number in range(FAMILIES_MAX - 1):
        is_allowed(str(number))
    assert [is_allowed("first"), is_allowed("second")] == [False, True]


async def test_keys_do_not_share_a_counter(limits: RateLimits) -> None:
    await limits.take(charge(TWO, subject="one-" + uuid.uuid4().hex, cost=2))
    (state,) = await limits.take(charge(TWO))
    assert not state.exceeded


async def test_charge_without_limits_returns_nothing(limits: RateLimits) -> None:
    assert await limits.take(charge()) == ()


@pytest.mark.requirement("CG-06", "TR-09")
async def test_concurrent_requests_never_exceed_limit(limits: RateLimits) -> None:
    request = charge(RateLimit(name="requests", quota=100, window_s=3600, burst=100))
    states = await asyncio.gather(*(limits.take(request) for _ in range(500)))
    assert sum(not state.exceeded for (state,) in states) == 100


@pytest.mark.requirement("TR-09")
async def test_two_workers_share_one_counter(redis_url: str) -> None:
    workers = [limiter(redis_url), limiter(redis_url)]
    request = charge(RateLimit(name="requests", quota=50, window_s=3600, burst=50))
    states = await asyncio.gather(*(worker.take(request) for worker in workers for _ in range(100)))
    for worker in workers:
        await worker.close()
    assert sum(not state.exceeded for (state,) in states) == 50
    assert not any(state.degraded for (state,) in states)


@pytest.mark.bound("redis.batches:BATCH_MAX")
async def test_calls_beyond_a_batch_are_sent_in_another_batch(
    redis_limits: RedisRateLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = AsyncMock(side_effect=redis_limits._batches.connection.evaluate)
    monkeypatch.setattr(redis_limits._batches.connection, "evaluate", evaluate)
    states = await asyncio.gather(
        *(redis_limits.take(charge(FIVE)) for _ in range(2 * BATCH_MAX + 1))
    )
    assert not any(state.degraded or state.exceeded for (state,) in states)
    assert [len(call.args[1]) for call in evaluate.await_args_list] == [BATCH_MAX, BATCH_MAX, 1]


@pytest.mark.bound("verification.rate_limiters:FORGET_TIMEOUT_S")
async def test_purge_does_not_wait_for_a_silent_redis(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limiters, "FORGET_TIMEOUT_S", 0.1)
    redis_limits = limiter(f"redis://127.0.0.1:{silent_port}")
    async with asyncio.timeout(60):
        assert await redis_limits.forget("purged000000") is False
    await redis_limits.close()


async def test_counter_name_has_limit_and_subject_and_expires(
    redis_limits: RedisRateLimits, redis_url: str
) -> None:
    request = charge(FIVE)
    await redis_limits.take(request)
    left = await command(redis_url, "PTTL", f"{KEY_PREFIX}requests:{request.subject}")
    assert isinstance(left, int)
    assert 0 < left <= 722_000


async def test_lost_script_is_loaded_again(redis_limits: RedisRateLimits, redis_url: str) -> None:
    await redis_limits.take(charge(FIVE))
    await command(redis_url, "SCRIPT", "FLUSH")
    (state,) = await redis_limits.take(charge(FIVE))
    assert (state.degraded, state.remaining) == (False, 4)


async def test_cancelled_request_does_not_affect_others(redis_limits: RedisRateLimits) -> None:
    tasks = [asyncio.create_task(redis_limits.take(charge(FIVE))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, tuple) and not result[0].degraded for result in results[1::2])


async def test_without_redis_states_are_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BREAK_S", 600.0)
    reasons: list[str] = []
    redis_limits = limiter(f"redis://127.0.0.1:{free_port()}", reasons=reasons)
    await redis_limits.start()
    request = charge(TWO)
    states = [await redis_limits.take(request) for _ in range(3)]
    await redis_limits.close()
    assert [state.exceeded for (state,) in states] == [False, False, True]
    assert all(state.degraded for (state,) in states)
    assert reasons == ["ConnectionRefusedError"]  # once: other requests do not retry within BREAK_S


async def test_without_redis_refuse_setting_denies() -> None:
    redis_limits = limiter(f"redis://127.0.0.1:{free_port()}", on_error="deny")
    for _ in range(2):
        with pytest.raises(Unavailable, match="Rate limiting is temporarily unavailable"):
            await redis_limits.take(charge(TWO))
    await redis_limits.close()


@pytest.mark.bound("limit_timeout_ms", "redis.connection:OPEN_TIMEOUT_S")
@pytest.mark.requirement("TR-09")
@pytest.mark.parametrize("kill_signal", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
async def test_redis_failure_fails_no_request(kill_signal: signal.Signals) -> None:
    with servers.redis() as url:
        pid = redis_pid(url)
        redis_limits = limiter(url, timeout_s=0.25)
        await redis_limits.start()
        request = charge(RateLimit(name="requests", quota=1_000_000, window_s=1, burst=1_000_000))

        async def traffic() -> list[bool]:
            return [(await redis_limits.take(request))[0].degraded for _ in range(200)]

        running = [asyncio.create_task(traffic()) for _ in range(10)]
        await redis_limits.take(request)
        os.kill(pid, kill_signal)
        degraded_states = [degraded for task in running for degraded in await task]
        (after,) = await redis_limits.take(request)
        await redis_limits.close()
        if kill_signal is signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
    assert len(degraded_states) == 2000
    assert after.degraded
    assert redis_limits.degraded


@pytest.mark.bound("redis.batches:BREAK_S")
async def test_recovered_redis_counts_again(redis_limits: RedisRateLimits, redis_url: str) -> None:
    await redis_limits.take(charge(FIVE))
    await command(redis_url, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    async with asyncio.timeout(30):
        while (await redis_limits.take(charge(FIVE)))[0].degraded:
            await asyncio.sleep(0.01)
    assert not redis_limits.degraded
