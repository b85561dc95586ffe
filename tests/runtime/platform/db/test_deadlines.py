"""Changes of a gateway end at their deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.cores import CoreName
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId
from gatehouse.features.cores import repository as core_repository
from gatehouse.features.cores.repository import CoreRegistry, CoreRepository
from gatehouse.features.keys import repository as key_repository
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.platform.db.pool import Pool

from tests.runtime.conftest import Database, Rows, locked, opened
from tests.runtime.core_records import instance

EVENT = Actor("system", "test").event(AuditAction.KEY_CREATE, target_id="x", at=0.0, details={})
KEY = KeyId("000000000000")
PATIENCE_S = 60

Write = Callable[[Pool], Awaitable[Any]]


def _self_revocation(pool: Pool) -> Awaitable[Any]:
    repository = KeyRepository(pool, staleness_s=1.0)
    return repository.alter(KEY, lambda _: None, deadline_s=key_repository.REVOKE_TIMEOUT_S)


def _registration(pool: Pool) -> Awaitable[Any]:
    record = msgspec.structs.replace(instance("a"), registered_by=KEY)
    return CoreRegistry(pool).register(record, now=0.0, event=EVENT)


CORE_WRITES: list[Write] = [
    _registration,
    lambda pool: CoreRegistry(pool).drain("docs", "lease-a", until=0.0, key=KEY, event=EVENT),
    lambda pool: CoreRepository(pool).end(CoreName("docs"), None, until=0.0, event=EVENT),
]


@pytest.mark.parametrize(
    ("write", "module", "bound", "table"),
    [
        (_self_revocation, key_repository, "REVOKE_TIMEOUT_S", "api_key"),
        *((write, core_repository, "WRITE_TIMEOUT_S", "core") for write in CORE_WRITES),
    ],
)
async def test_write_that_waits_for_a_lock_is_unavailable(
    database: Database,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    module: Any,
    bound: str,
    table: str,
) -> None:
    await rows.add_key(KEY)
    monkeypatch.setattr(module, bound, 0.2)
    async with (
        opened(replace(database.app, statement_s=600)) as pool,
        asyncio.timeout(PATIENCE_S),
        locked(database, table),
    ):
        with pytest.raises(Unavailable):
            await write(pool)
