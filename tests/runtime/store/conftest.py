"""Keys in a real database, written as the application's role does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest
from gatehouse.cores.repository import PostgresCores
from gatehouse.db.connection import DatabaseLogin
from gatehouse.keys.models import KeyId
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.change_feed import PostgresChanges
from gatehouse.verification.repository import PostgresKeys


@dataclass(frozen=True)
class Rows:
    """The tables, from the outside: what management would do to them."""

    pool: asyncpg.Pool

    async def add_key(self, key_id: str, state: str = "active") -> None:
        await self.pool.execute(
            "INSERT INTO api_key (id, digest, pepper_generation, environment, state, name, owner, scopes, cores, limits,"
            " created_at, created_by, revoked_at)"
            " VALUES ($1, $2, 1, 'test', $3, 'n', 'o', '{cores:register}', '{}', $4, now(), 'test', $5::timestamptz)",
            key_id,
            bytes(32),
            state,
            json.dumps([{"name": "requests", "quota": 5, "window_s": 60, "burst": 5}]),
            None,
        )

    async def revoke(self, key_id: str) -> int:
        seq = await self.pool.fetchval(
            "UPDATE api_key SET state = 'revoked', revoked_at = now() WHERE id = $1 RETURNING change_seq", key_id
        )
        return int(seq)


@dataclass(frozen=True)
class Worker:
    """A gateway worker's view of the database."""

    cache: KeyCache
    cores: PostgresCores
    changes: PostgresChanges
    keys: PostgresKeys

    async def confirmed(self, rows: Rows, worker_id: str, seq: int) -> None:
        """Returns once the worker's own row says that it has seen change `seq`."""
        async with asyncio.timeout(5):
            while True:
                seen = await rows.pool.fetchval("SELECT confirmed_seq FROM gateway_worker WHERE id = $1", worker_id)
                if seen is not None and seen >= seq:
                    return
                await asyncio.sleep(0.005)


@pytest.fixture
async def rows(database: object) -> AsyncIterator[Rows]:
    async with asyncpg.create_pool(**_login(database).arguments(), min_size=1, max_size=4) as pool:
        yield Rows(pool)


@pytest.fixture
async def worker(database: object) -> AsyncIterator[Worker]:
    login = _login(database)
    async with asyncpg.create_pool(**login.arguments(), min_size=1, max_size=4) as pool:
        cache, cores = KeyCache(1000), PostgresCores(pool)
        changes = PostgresChanges(login, worker_id="worker-1", cache=cache, cores=cores)
        await changes.start()
        keys = PostgresKeys(pool, cache, changes.staleness_ms)
        yield Worker(cache, cores, changes, keys)
        await keys.close()
        await changes.close()


def _login(database: object) -> DatabaseLogin:
    login = getattr(database, "app", None)
    assert isinstance(login, DatabaseLogin)
    return login


def key_id(text: str) -> KeyId:
    return KeyId(text.ljust(12, "0"))
