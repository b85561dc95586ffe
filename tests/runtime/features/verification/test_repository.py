"""Pepper migration of keys, and the prefilter of IDs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from gatehouse.core.keys import KeyEnvironment, KeyId
from gatehouse.core.tokens.token import Pepper, build, is_marked
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.verification import repository
from gatehouse.features.verification.cache import Prefilter
from gatehouse.features.verification.repository import PepperMigration

from tests.runtime.conftest import lock_waits

BOTH = Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)


async def stored(rows: Any, key_id: str) -> tuple[int, bytes]:
    row = await rows.pool.fetchrow(
        "SELECT pepper_generation, digest FROM api_key WHERE id = $1", key_id
    )
    return row["pepper_generation"], row["digest"]


@pytest.fixture
async def migration(rows: Any) -> AsyncIterator[PepperMigration]:
    migration = PepperMigration(rows.pool, KeyRepository(rows.pool, staleness_s=30), BOTH)
    yield migration
    await migration.close()
    await rows.pool.execute("DELETE FROM gateway_worker")


async def test_key_migrates_once_all_gateways_read_generation(
    rows: Any, migration: PepperMigration
) -> None:
    await rows.add_key("moves0000000")
    await rows.pool.execute(
        "INSERT INTO gateway_worker VALUES ('old', 0, now(), '{1}'), ('new', 0, now(), '{1,2}')"
    )
    migration.add(KeyId("moves0000000"), "the token", 1)
    assert (await migration.flush(), await stored(rows, "moves0000000")) == (0, (1, bytes(32)))
    await rows.pool.execute(
        "UPDATE gateway_worker SET seen_at = now() - interval '5 minutes' WHERE id = 'old'"
    )
    migration.add(KeyId("moves0000000"), "the token", 1)
    assert await migration.flush() == 1
    assert await stored(rows, "moves0000000") == (2, BOTH.digest("the token", 2))
    audit = await rows.pool.fetchrow(
        "SELECT actor_type, target_id, details::text FROM audit_event WHERE action = "
        "'pepper.rewrap'"
    )
    assert (audit["actor_type"], audit["target_id"], "the token" in audit["details"]) == (
        "system",
        "2",
        False,
    )


@pytest.mark.bound("verification.repository:QUEUE_MAX")
async def test_keys_beyond_the_queue_migrate_at_their_next_use(
    rows: Any, migration: PepperMigration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "QUEUE_MAX", 2)
    ids = [KeyId(f"queued{number:06d}") for number in range(3)]
    for key_id in ids:
        await rows.add_key(key_id)
    await rows.pool.execute("INSERT INTO gateway_worker VALUES ('new', 0, now(), '{1,2}')")
    migrated = []
    for _ in range(2):
        for key_id in ids:
            generation, _ = await stored(rows, key_id)
            migration.add(key_id, "the token", generation)
        migrated.append(await migration.flush())
    assert migrated == [2, 1]


async def test_concurrently_migrated_key_is_not_written(
    rows: Any, migration: PepperMigration
) -> None:
    await rows.add_key("raced0000000")
    await rows.pool.execute("UPDATE api_key SET pepper_generation = 2 WHERE id = 'raced0000000'")
    migration.add(KeyId("raced0000000"), "the token", 1)
    assert (await migration.flush(), await stored(rows, "raced0000000")) == (0, (2, bytes(32)))


async def test_key_that_is_being_changed_migrates_afterwards(
    rows: Any, migration: PepperMigration
) -> None:
    ids = [KeyId(f"locked{number:06d}") for number in range(2)]
    await rows.pool.execute("INSERT INTO gateway_worker VALUES ('new', 0, now(), '{1,2}')")
    for key_id in ids:
        await rows.add_key(key_id)
        migration.add(key_id, "the token", 1)
    async with rows.pool.transaction() as connection, asyncio.timeout(60):
        await connection.execute("SELECT FROM api_key WHERE id = $1 FOR UPDATE", ids[1])
        flush = asyncio.create_task(migration.flush())
        while not await lock_waits(rows.pool):
            await asyncio.sleep(0.001)
        await connection.execute("UPDATE api_key SET name = 'changed' WHERE id = $1", ids[1])
    assert await flush == 2


def test_mark_is_valid_under_available_generations_only() -> None:
    for generation in (1, 2):
        token = build(
            "gtk", KeyEnvironment.TEST, b"123456789", bytes(32), pepper=BOTH, generation=generation
        )
        assert is_marked(token.id, BOTH)
        assert is_marked(token.id, Pepper({1: b"p" * 32}, 1)) is (generation == 1)
    with pytest.raises(KeyError):
        build("gtk", KeyEnvironment.TEST, b"1", bytes(32), pepper=BOTH, generation=3)


def test_filter_is_disabled_by_unknown_generation() -> None:
    for generations, plausible in (([], False), ([1, 2], False), ([1, 0], True), ([3], True)):
        prefilter = Prefilter(BOTH)
        for generation in generations:
            prefilter.add(generation)
        assert prefilter.plausible(KeyId("0" * 12)) is plausible
