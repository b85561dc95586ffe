"""Removals from old files that wait, in PostgreSQL; a trigger queues them in the transaction of the purge."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store.ports_oldfiles import Removal
from gatehouse.store.postgres_audit import append
from gatehouse.store.postgres_engine import transaction
from gatehouse.types import AuditEvent, KeyId

_TAKE = text(
    "UPDATE old_file_removal SET next_at = now() + make_interval(secs => :hold_s) WHERE key_id IN ("
    " SELECT key_id FROM old_file_removal WHERE next_at <= now() ORDER BY next_at LIMIT :size FOR UPDATE SKIP LOCKED)"
    " RETURNING key_id, attempts"
)
_DONE = text("DELETE FROM old_file_removal WHERE key_id = ANY(CAST(:ids AS text[]))")
_FAILED = text(
    "UPDATE old_file_removal SET attempts = attempts + 1, problem = :problem, next_at = now() + make_interval(secs => :again_s)"
    " WHERE key_id = ANY(CAST(:ids AS text[]))"
)


class PostgresRemovals:
    """`ports_oldfiles.Removals` on the console's engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def due(self, *, size: int, hold_s: float) -> tuple[Removal, ...]:
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(_TAKE, {"size": size, "hold_s": hold_s})).all()
        return tuple(Removal(KeyId(row.key_id), row.attempts) for row in rows)

    async def done(self, removals: tuple[Removal, ...], events: list[AuditEvent]) -> None:
        async with transaction(self._engine) as connection:
            await connection.execute(_DONE, {"ids": [one.key_id for one in removals]})
            await _append(connection, events)

    async def failed(self, removals: tuple[Removal, ...], *, problem: str, again_s: float, events: list[AuditEvent]) -> None:
        async with transaction(self._engine) as connection:
            ids = [one.key_id for one in removals]
            await connection.execute(_FAILED, {"ids": ids, "problem": problem, "again_s": again_s})
            await _append(connection, events)


async def _append(connection: AsyncConnection, events: list[AuditEvent]) -> None:
    for event in events:
        await append(connection, event)
