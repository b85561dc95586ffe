"""A change of a customer reaches gateway workers that cannot read the database."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.keys import CustomerRecord, CustomerState, KeyId, KeyRecord
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.keys.changes_in_valkey import NAME, Announcement, Announcements
from gatehouse.features.verification.cache import KeyCache
from gatehouse.features.verification.change_feed import apply_announcement
from gatehouse.features.verification.repository import KeyLoader
from gatehouse.platform.redis.connection import Redis
from msgspec.structs import replace

from tests.runtime.key_records import RECORD

ACTIVE = CustomerRecord("acme", "Acme", CustomerState.ACTIVE, None, None, False, 1)
DISABLED = replace(ACTIVE, state=CustomerState.DISABLED, version=2)
KEY = replace(RECORD, customer_id="acme")


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis(redis_url, "url", timeout_s=5)
    await client.call(client.client.delete(NAME))
    yield client
    await client.close()


def worker() -> KeyLoader:
    unused: Any = None
    keys = KeyLoader(unused, KeyCache(10), lambda: 0)
    keys.cache.end_load(KEY.id, KEY)
    keys.customers.cache.end_load("acme", ACTIVE)
    assert keys.resolved(KEY) is not None
    return keys


async def test_announced_customer_denies_its_cached_keys_and_ends_streams(redis: Redis) -> None:
    keys, ended = worker(), list[tuple[KeyId, KeyRecord | None]]()

    def received(announcement: Announcement) -> None:
        def on_key_change(key_id: KeyId, record: KeyRecord | None) -> None:
            ended.append((key_id, record))

        apply_announcement(
            announcement, keys, lambda: [KEY.id, KeyId("other0000000")], on_key_change
        )

    pepper = Pepper({1: bytes(32)}, 1)
    console = Announcements(redis, pepper, Clock(), 900)
    gateway = Announcements(redis, pepper, Clock(), 900, received)
    assert await console.announce(DISABLED, "everywhere") == "everywhere"
    await gateway.read()
    assert ended == []
    assert await console.announce(DISABLED, "within_outage_bound") == "within_bound"
    await gateway.read()
    [(key_id, record)] = ended
    assert key_id == KEY.id
    assert record is not None
    assert record.customer == DISABLED
    cached = keys.cache.find(KEY.id)
    assert cached is not None
    assert keys.resolved(cached) == record


async def test_earlier_announcement_changes_nothing(redis: Redis) -> None:
    keys = worker()
    keys.customers.cache.change(replace(ACTIVE, version=3))
    apply_announcement(Announcement(1e12, customer=DISABLED), keys, lambda: [], lambda *_: None)
    cached = keys.cache.find(KEY.id)
    assert cached is not None
    resolved = keys.resolved(cached)
    assert resolved is not None
    assert resolved.customer is not None
    assert resolved.customer.state is CustomerState.ACTIVE
