"""A gateway worker's view of a real database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from gatehouse.core.tokens.imported_tokens import ImportedKeyIds
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.cores.repository import CoreRegistry
from gatehouse.features.verification.cache import KeyCache, Prefilter
from gatehouse.features.verification.change_feed import ChangeFeed
from gatehouse.features.verification.repository import KeyLoader
from gatehouse.platform.db.pool import DatabaseLogin, Pool

from tests.runtime.conftest import Database, Rows


@dataclass(frozen=True)
class Worker:
    cache: KeyCache
    cores: CoreRegistry
    changes: ChangeFeed
    keys: KeyLoader


async def confirmed(rows: Rows, worker_id: str, seq: int) -> None:
    statement = "SELECT confirmed_seq FROM gateway_worker WHERE id = $1"
    async with asyncio.timeout(60):
        while (await rows.pool.fetchval(statement, worker_id) or 0) < seq:
            await asyncio.sleep(0.005)


@pytest.fixture
async def worker(database: Database, module_pool: Pool) -> AsyncIterator[Worker]:
    cache, cores = KeyCache(1000), CoreRegistry(module_pool)
    keys = KeyLoader(module_pool, cache, lambda: 0)
    changes = change_feed(database.app, module_pool, "worker-1", keys, cores)
    await changes.start()
    yield Worker(cache, cores, changes, keys)
    await keys.close()
    await changes.close()


def change_feed(
    login: DatabaseLogin,
    pool: Any,
    worker_id: str,
    keys: KeyLoader | None = None,
    cores: CoreRegistry | None = None,
    **options: Any,
) -> ChangeFeed:
    pepper = Pepper({1: bytes(32)}, 1)
    return ChangeFeed(
        login,
        worker_id=worker_id,
        keys=keys or KeyLoader(pool, KeyCache(10), lambda: 0),
        cores=CoreRegistry(pool) if cores is None else cores,
        prefilter=Prefilter(pepper),
        imported_ids=ImportedKeyIds(pepper),
        generations=(1,),
        **options,
    )
