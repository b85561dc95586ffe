"""Keys during a pepper rotation: each stays valid, and migrates when every gateway reads the new
generation.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.runtime.services.gateway.conftest import PEPPER, Gateway
from tests.runtime.services.gateway.test_imported_keys import Importer, importer

__all__ = ["importer"]

GENERATIONS = {"1": base64.b64encode(PEPPER).decode(), "2": base64.b64encode(PEPPER[::-1]).decode()}
ROTATED = json.dumps({"current": 2, "generations": GENERATIONS})

#: Tokens of imported keys by name.
TOKENS = {"first": "theirs-0001", "second": "theirs-0002", "unused": "theirs-0003"}


@pytest.fixture
async def pool(database: Any) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database.app_url, min_size=1, max_size=2) as connections:
        yield connections


async def names(gateway: Gateway, *keys: str) -> dict[str, str]:
    return {key: (await gateway.verify(TOKENS[key])).json["name"] for key in keys or TOKENS}


async def test_keys_survive_pepper_rotation(
    start: Any, database: Any, redis_url: str, pool: asyncpg.Pool, importer: Importer
) -> None:
    expected = {name: name for name in TOKENS}
    used = [name for name in TOKENS if name != "unused"]
    old_process, old_port, old_log = start(database.app_url, redis_url)
    old = Gateway(old_port, old_process.pid, pool, old_log)
    await importer.run({token: {"name": name} for name, token in TOKENS.items()})
    key = await old.create_key()
    assert await names(old, *used) == {name: name for name in used}

    new_process, new_port, new_log = start(database.app_url, redis_url, GATEHOUSE_PEPPER=ROTATED)
    new = Gateway(new_port, new_process.pid, pool, new_log)
    # The first use may reach either gateway while one of them does not have the new pepper.
    assert await names(new) == expected
    assert await names(old) == expected
    for gateway in (old, new):
        assert (await gateway.verify(key.token)).json["valid"]
    assert await pool.fetchval("SELECT max(pepper_generation) FROM api_key") == 1

    await asyncio.to_thread(old_process.stop)
    async with asyncio.timeout(60):
        while await pool.fetchval("SELECT count(*) FROM api_key WHERE pepper_generation = 1"):
            assert await names(new) == expected
            assert (await new.verify(key.token)).json["valid"]
            await asyncio.sleep(0.1)
    assert (await new.verify(key.token)).json["valid"]
    assert await pool.fetchval("SELECT count(*) FROM audit_event WHERE action = 'pepper.rewrap'")
    assert await names(new) == expected
    assert await new.code(TOKENS["first"] + "x") == "NOT_FOUND"

    restarted_process, restarted_port, restarted_log = start(
        database.app_url, redis_url, GATEHOUSE_PEPPER=ROTATED
    )
    assert (
        await names(Gateway(restarted_port, restarted_process.pid, pool, restarted_log)) == expected
    )
