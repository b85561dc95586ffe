"""Migrates keys to the newest pepper generation when they are used, because the new digest can only be computed from the token.

Runs outside of the request: a request adds the new digest to a queue, and a task writes the queue at most every FLUSH_S, with
one audit event per batch. It writes only once every live gateway can read the new generation, so that no request fails while a
new pepper is rolled out; until then it discards the queue, because the next use adds the key again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from gatehouse.audit.models import AuditAction, AuditEvent
from gatehouse.audit.repository import append
from gatehouse.crypto.token import Pepper
from gatehouse.db.pool import Pool, row_count
from gatehouse.errors import Unavailable
from gatehouse.identity.models import Actor
from gatehouse.keys.models import KeyId
from gatehouse.keys.repository import KeyRepository

FLUSH_S = 2.0

#: Maximum length of the queue; further keys are migrated by a later use.
QUEUE_MAX = 1000
WRITE_TIMEOUT_S = 5.0

_WRITE = (
    "UPDATE api_key SET digest = wrapped.digest, pepper_generation = $3"
    " FROM unnest($1::text[], $2::bytea[], $4::integer[]) AS wrapped (id, digest, before)"
    " WHERE api_key.id = wrapped.id AND api_key.pepper_generation = wrapped.before AND state <> 'purged'"
)


class PepperMigration:
    def __init__(self, pool: Pool, keys: KeyRepository, pepper: Pepper) -> None:
        self._pool = pool
        self._keys = keys
        self._pepper = pepper
        self._queue: dict[KeyId, tuple[bytes, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, key_id: KeyId, token: str, generation: int) -> None:
        """Queues a key whose token was just verified under an old generation. Computes one HMAC; no I/O."""
        if generation >= self._pepper.current or key_id in self._queue or len(self._queue) >= QUEUE_MAX:
            return
        digest = self._pepper.digest(token, self._pepper.current)
        if digest is None:
            return
        self._queue[key_id] = (digest, generation)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush_later(), name="pepper-migration")

    async def flush(self) -> int:
        """Writes the queue and returns the number of migrated keys. Never raises: the next use queues the keys again."""
        queue, self._queue = self._queue, {}
        if not queue:
            return 0
        current = self._pepper.current
        try:
            async with self._pool.transaction(timeout_s=WRITE_TIMEOUT_S) as connection:
                if await self._keys.writable_generation([current], connection) is None:
                    return 0
                digests, generations = zip(*queue.values(), strict=True)
                count = row_count(await connection.execute(_WRITE, list(queue), list(digests), current, list(generations)))
                if count:
                    await append(connection, _event(count, current))
        except Unavailable:
            return 0
        return count

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        await self.flush()


def _event(count: int, generation: int) -> AuditEvent:
    return Actor("system", "gateway").event(
        AuditAction.PEPPER_REWRAP,
        target_id=str(generation),
        at=time.time(),
        details={"keys": count, "generation": generation},
    )
