"""The log level in PostgreSQL: read by the gateway on its pool, read and written by the console on its engine."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.core.auditchain import as_datetime, as_seconds
from gatehouse.store.ports_level import LevelWish
from gatehouse.store.postgres_audit import append
from gatehouse.store.postgres_engine import connected, transaction
from gatehouse.types import AuditEvent

_SET = (
    "INSERT INTO log_level (level, until, set_by) VALUES (:level, :until, :set_by)"
    " ON CONFLICT (sole) DO UPDATE SET level = EXCLUDED.level, until = EXCLUDED.until, set_by = EXCLUDED.set_by"
)


class PostgresLevels:
    """`ports_level.LevelStore` on the console's engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def wish(self) -> LevelWish | None:
        async with connected(self._engine) as connection:
            row = (await connection.execute(text("SELECT level, until, set_by FROM log_level"))).one_or_none()
        return None if row is None else LevelWish(row.level, as_seconds(row.until), row.set_by)

    async def set(self, wish: LevelWish | None, event: AuditEvent) -> None:
        async with transaction(self._engine) as connection:
            if wish is None:
                await connection.execute(text("DELETE FROM log_level"))
            else:
                values = {"level": wish.level, "until": as_datetime(wish.until), "set_by": wish.set_by}
                await connection.execute(text(_SET), values)
            await append(connection, event)
