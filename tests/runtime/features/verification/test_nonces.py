"""Nonces in a real Redis: accepted once across workers, and unavailable without Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from gatehouse.core.keys import KeyId
from gatehouse.features.verification.nonces import KEY_PREFIX, RedisNonces
from gatehouse.platform.redis.connection import Redis
from valkey import Valkey

KEY = KeyId("3fGh82kLmQ0a")


@pytest.fixture
async def workers(redis_url: str) -> AsyncIterator[list[RedisNonces]]:
    started = [Redis(redis_url, "url", timeout_s=20) for _ in range(3)]
    yield [RedisNonces(redis) for redis in started]
    await asyncio.gather(*(redis.close() for redis in started))


def new_nonce() -> str:
    return secrets.token_hex(16)


async def test_concurrent_nonce_of_a_key_is_accepted_once(workers: list[RedisNonces]) -> None:
    nonce = new_nonce()
    results = await asyncio.gather(
        *(workers[number % 3].is_new(KEY, nonce, keep_s=60) for number in range(300))
    )
    assert results.count(True) == 1
    assert await workers[0].is_new(KeyId("9fGh82kLmQ0a"), nonce, keep_s=60)


async def test_repeated_request_has_the_nonce_of_its_first_attempt(
    workers: list[RedisNonces],
) -> None:
    nonce, (first, second, _) = new_nonce(), workers
    assert await first.is_new(KEY, nonce, keep_s=60, charge_id="a")
    assert await second.is_new(KEY, nonce, keep_s=60, charge_id="a")
    for other in ("b", ""):
        assert not await second.is_new(KEY, nonce, keep_s=60, charge_id=other)


async def test_nonce_that_is_not_stored_can_be_used_later(workers: list[RedisNonces]) -> None:
    nonce, (first, second, _) = new_nonce(), workers
    assert await first.is_new(KEY, nonce, keep_s=0)
    assert await second.is_new(KEY, nonce, keep_s=60)
    assert not await first.is_new(KEY, nonce, keep_s=0)


async def test_nonce_is_hashed_and_expires(workers: list[RedisNonces], redis_url: str) -> None:
    nonce = new_nonce()
    await workers[0].is_new(KeyId("ends00000000"), nonce, keep_s=60)
    with Valkey.from_url(redis_url) as client:
        (stored,) = client.scan_iter(f"{KEY_PREFIX}ends00000000:*")
        left_s = client.ttl(stored)
    assert nonce.encode() not in stored
    assert isinstance(left_s, int)
    assert 0 < left_s <= 60
