"""Nonces in a real Redis: accepted once across workers, and unavailable without Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId
from gatehouse.platform.redis.connection import RedisConnection, redis_login
from gatehouse.platform.redis.nonces import KEY_PREFIX, RedisNonces

from sandbox.ports import free_port

KEY = KeyId("3fGh82kLmQ0a")


def redis_nonces(url: str) -> RedisNonces:
    return RedisNonces(redis_login(url, "url"), timeout_s=20)


@pytest.fixture
async def workers(redis_url: str) -> AsyncIterator[list[RedisNonces]]:
    started = [redis_nonces(redis_url) for _ in range(3)]
    yield started
    await asyncio.gather(*(item.close() for item in started))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(redis_login(redis_url, "url"))
    await connection.open(5)
    yield connection
    connection.close()


def new_nonce() -> str:
    return secrets.token_hex(16)


@pytest.mark.requirement("TR-10")
async def test_concurrent_nonce_is_accepted_once(workers: list[RedisNonces]) -> None:
    nonce = new_nonce()
    results = await asyncio.gather(
        *(workers[number % 3].is_new(KEY, nonce, keep_s=60) for number in range(300))
    )
    assert results.count(True) == 1


async def test_batch_distinguishes_nonces(workers: list[RedisNonces]) -> None:
    nonces = [new_nonce() for _ in range(600)]
    first = await asyncio.gather(*(workers[0].is_new(KEY, nonce, keep_s=60) for nonce in nonces))
    again = await asyncio.gather(*(workers[1].is_new(KEY, nonce, keep_s=60) for nonce in nonces))
    assert (set(first), set(again)) == ({True}, {False})


async def test_nonces_are_separate_per_key(workers: list[RedisNonces]) -> None:
    nonce = new_nonce()
    assert await workers[0].is_new(KEY, nonce, keep_s=60)
    assert await workers[0].is_new(KeyId("9fGh82kLmQ0a"), nonce, keep_s=60)


async def test_read_only_check_stores_nothing(workers: list[RedisNonces]) -> None:
    nonce = new_nonce()
    reads = [await workers[0].is_new(KEY, nonce, keep_s=0) for _ in range(2)]
    assert reads == [True, True]
    assert await workers[0].is_new(KEY, nonce, keep_s=60)
    assert not await workers[0].is_new(KEY, nonce, keep_s=0)


async def test_nonce_is_hashed_and_expires(
    workers: list[RedisNonces], redis: RedisConnection
) -> None:
    nonce = new_nonce()
    await workers[0].is_new(KeyId("ends00000000"), nonce, keep_s=60)
    names = await redis.call(("KEYS", f"{KEY_PREFIX}ends00000000:*"), 5)
    assert isinstance(names, list)
    (stored,) = names
    assert isinstance(stored, bytes)
    assert nonce.encode() not in stored
    left_s = await redis.call(("TTL", stored), 5)
    assert isinstance(left_s, int)
    assert 0 < left_s <= 60


async def test_lost_nonce_script_is_loaded_again(
    workers: list[RedisNonces], redis: RedisConnection
) -> None:
    await redis.call(("SCRIPT", "FLUSH"), 5)
    assert await workers[0].is_new(KEY, new_nonce(), keep_s=60)


async def test_without_redis_nonce_check_is_unavailable() -> None:
    nonces = redis_nonces(f"redis://127.0.0.1:{free_port()}")
    results = await asyncio.gather(
        *(nonces.is_new(KEY, new_nonce(), keep_s=60) for _ in range(10)), return_exceptions=True
    )
    assert {type(result) for result in results} == {Unavailable}
    with pytest.raises(Unavailable):
        await nonces.is_new(KEY, new_nonce(), keep_s=60)
    await nonces.close()


async def test_close_fails_waiting_requests(redis_url: str) -> None:
    closing = redis_nonces(redis_url)
    waiting = asyncio.create_task(closing.is_new(KEY, new_nonce(), keep_s=60))
    await asyncio.sleep(0)
    await closing.close()
    (result,) = await asyncio.gather(waiting, return_exceptions=True)
    assert result is True or isinstance(result, Unavailable)
