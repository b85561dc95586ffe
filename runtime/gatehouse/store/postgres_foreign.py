"""Old bcrypt hashes in PostgreSQL, and their replacement at the first use, from the gateway's side."""

from __future__ import annotations

import asyncpg

from gatehouse.core.foreign import UNPROVEN
from gatehouse.errors import Unavailable
from gatehouse.store.audit_append import append_event
from gatehouse.store.keycache import KeyCache
from gatehouse.store.postgres_keys import COLUMNS, Pool, key_record
from gatehouse.types import AuditEvent, KeyId, KeyRecord

#: Failure side: closed. The key is not verified this time.
TIMEOUT_S = 5.0
_READ = "SELECT generation, sealed FROM foreign_hash WHERE key_id = $1"
_UPGRADE = (
    "UPDATE api_key SET digest = $2, pepper_generation = $3"  # noqa: S608
    f" WHERE id = $1 AND digest = $4 AND state <> 'purged' RETURNING {COLUMNS}"
)


class PostgresForeignHashes:
    """`ports_foreign.ForeignHashes`; the worker that did an upgrade knows of it at once."""

    def __init__(self, pool: Pool, cache: KeyCache) -> None:
        self._pool = pool
        self._cache = cache

    async def read(self, key_id: KeyId) -> tuple[int, bytes] | None:
        try:
            row = await self._pool.fetchrow(_READ, key_id, timeout=TIMEOUT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise _away(exc) from exc
        return None if row is None else (row["generation"], row["sealed"])

    async def upgrade(self, key_id: KeyId, digest: bytes, generation: int, event: AuditEvent) -> KeyRecord | None:
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection, connection.transaction():
                row = await connection.fetchrow(_UPGRADE, key_id, digest, generation, UNPROVEN)
                if row is not None:
                    await connection.execute("DELETE FROM foreign_hash WHERE key_id = $1", key_id)
                    await append_event(connection, event)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise _away(exc) from exc
        if row is None:
            return None
        record = key_record(row)
        self._cache.change(record)
        return record


def _away(exc: Exception) -> Unavailable:
    return Unavailable("Keys cannot be checked at the moment", detail=f"foreign hash: {type(exc).__name__}")
