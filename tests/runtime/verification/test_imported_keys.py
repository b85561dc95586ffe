"""Bcrypt checks of imported keys in one worker, while the database does not respond."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from gatehouse.crypto.token import proves_possession
from gatehouse.errors import Unavailable
from gatehouse.verification import imported_keys
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.imported_keys import ImportedKey, ImportedKeys
from gatehouse.verification.imported_tokens import ImportedKeyIds
from gatehouse.verification.repository import KeyLoader

from tests.runtime.clocks import ManualClock
from tests.runtime.conftest import Database, lock_waits, locked, opened
from tests.runtime.console_client import Console

TOKEN = "client-1.first-secret"


@asynccontextmanager
async def importing(console: Console, database: Database) -> AsyncIterator[ImportedKeys]:
    """The imported keys of a worker whose statements are limited only by their own timeout. TOKEN is the token of a key."""
    console.database.sql("DELETE FROM api_key")
    await console.import_key(TOKEN, "bcrypt")
    pepper, cache = console.dependencies.pepper, KeyCache(10)
    async with opened(replace(database.app, statement_s=600)) as pool:
        ids = ImportedKeyIds(pepper)
        ids.add("bcrypt", 1)
        yield ImportedKeys(pool, cache, KeyLoader(pool, cache, lambda: 0), ManualClock(), pepper, ids)


@pytest.mark.requirement("CG-09")
async def test_concurrent_and_waiting_bcrypt_checks_are_bounded(
    console: Console, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imported_keys, "TIMEOUT_S", 60.0)
    async with importing(console, database) as keys, asyncio.timeout(60):
        async with locked(database, "imported_hash"):
            checks = [asyncio.create_task(keys.find(TOKEN)) for _ in range(imported_keys.WAITING_MAX)]
            while keys._waiting < imported_keys.WAITING_MAX or not await lock_waits(keys.pool):
                await asyncio.sleep(0.005)
            assert await lock_waits(keys.pool) == imported_keys.CHECKS_AT_ONCE
            with pytest.raises(Unavailable) as error:
                await keys.find(TOKEN)
            assert error.value.detail == "too many first uses of imported keys at once"
        results = await asyncio.gather(*checks)
    assert [_is_correct(keys, result) for result in results] == [True] * imported_keys.WAITING_MAX


def _is_correct(keys: ImportedKeys, result: ImportedKey | None) -> bool:
    assert result is not None
    return proves_possession(keys.pepper, result.material, result.record)


@pytest.mark.requirement("CG-09")
@pytest.mark.parametrize("table", ["imported_hash", "audit_event"], ids=["reading the hash", "replacing the hash"])
async def test_bcrypt_check_without_a_database_is_unavailable(
    console: Console, database: Database, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    async with importing(console, database) as keys, asyncio.timeout(60):
        async with locked(database, table):
            with monkeypatch.context() as hasty:
                hasty.setattr(imported_keys, "TIMEOUT_S", 0.5)
                with pytest.raises(Unavailable):
                    await keys.find(TOKEN)
        monkeypatch.setattr(imported_keys, "TIMEOUT_S", 60.0)
        assert _is_correct(keys, await keys.find(TOKEN))
