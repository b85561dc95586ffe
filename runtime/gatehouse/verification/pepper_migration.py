"""Moves keys to the newest pepper generation as they are used: the token is needed for it, and only a use brings one.

Off the hot path: a request leaves the new digest here, and a task writes what has gathered, at most once in FLUSH_S, with one
audit row a batch. It writes with a generation that every live gateway can read, so that no call fails while a new pepper is
rolled out; until then it forgets what it was given, since the next use brings it again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TypeAlias

import asyncpg

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.writer import append_event
from gatehouse.crypto.token import Pepper
from gatehouse.keys.models import KeyId

FLUSH_S = 2.0


#: Digests that wait at most; more are left to the next use.
WAITING_MAX = 1000


WRITE_TIMEOUT_S = 5.0


_ALL_READ = "SELECT NOT EXISTS (SELECT FROM gateway_worker WHERE seen_at > now() - make_interval(secs => $2) AND NOT $1 = ANY (generations))"


_WRITE = (
    "UPDATE api_key SET digest = wrapped.digest, pepper_generation = $3"
    " FROM unnest($1::text[], $2::bytea[], $4::integer[]) AS wrapped (id, digest, before)"
    " WHERE api_key.id = wrapped.id AND api_key.pepper_generation = wrapped.before AND state <> 'purged'"
)


Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class PepperMigration:
    """`offer` is called with a token that has just proved possession, under a generation that is not the current one."""

    def __init__(self, pool: Pool, pepper: Pepper, *, live_s: float, on_written: Callable[[int], None] = lambda _: None) -> None:
        """live_s: a worker not seen for longer is none. on_written hears how many keys a batch moved."""
        self._pool = pool
        self._pepper = pepper
        self._live_s = live_s
        self._on_written = on_written
        self._waiting: dict[KeyId, tuple[bytes, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def offer(self, key_id: KeyId, token: str, before: int) -> None:
        """Takes an HMAC and a dict entry, no I/O; nothing when the key waits already or too many do."""
        if before >= self._pepper.current or key_id in self._waiting or len(self._waiting) >= WAITING_MAX:
            return
        digest = self._pepper.digest(token, self._pepper.current)
        if digest is None:
            return
        self._waiting[key_id] = (digest, before)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._later(), name="rewrap")

    async def flush(self) -> int:
        """Writes what waits; the number of keys that were moved. Never raises: the next use brings them again."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return 0
        try:
            # Failure side: open. The keys stay under their old generation, which still verifies them.
            async with self._pool.acquire(timeout=WRITE_TIMEOUT_S) as connection, connection.transaction():
                current = self._pepper.current
                if not await connection.fetchval(_ALL_READ, current, self._live_s):
                    return 0
                digests, befores = zip(*waiting.values(), strict=True)
                answer = await connection.execute(_WRITE, list(waiting), list(digests), current, list(befores))
                moved = int(answer.rpartition(" ")[2])
                if moved:
                    await append_event(connection, _event(moved, current))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return 0
        self._on_written(moved)
        return moved

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        await self.flush()


def _event(moved: int, generation: int) -> AuditEvent:
    return AuditEvent(
        occurred_at=time.time(),
        actor_type="system",
        actor_id="gateway",
        action="pepper.rewrap",
        target_type="pepper",
        target_id=str(generation),
        outcome="success",
        request_id="",
        source_address="",
        details={"keys": moved, "generation": generation},
    )
