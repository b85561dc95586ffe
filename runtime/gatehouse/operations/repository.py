"""The log level in PostgreSQL: read by the gateway on its pool, read and written by the console on its engine."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.audit.chain import as_datetime, as_seconds
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.db.engine import connected, transaction
from gatehouse.operations.models import LogLevelOverride

_SET = (
    "INSERT INTO log_level (level, until, set_by) VALUES (:level, :until, :set_by)"
    " ON CONFLICT (sole) DO UPDATE SET level = EXCLUDED.level, until = EXCLUDED.until, set_by = EXCLUDED.set_by"
)


class PostgresLevels:
    """`ports_level.LevelStore` on the console's engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def wish(self) -> LogLevelOverride | None:
        async with connected(self._engine) as connection:
            row = (await connection.execute(text("SELECT level, until, set_by FROM log_level"))).one_or_none()
        return None if row is None else LogLevelOverride(row.level, as_seconds(row.until), row.set_by)

    async def set(self, wish: LogLevelOverride | None, event: AuditEvent) -> None:
        async with transaction(self._engine) as connection:
            if wish is None:
                await connection.execute(text("DELETE FROM log_level"))
            else:
                values = {"level": wish.level, "until": as_datetime(wish.until), "set_by": wish.set_by}
                await connection.execute(text(_SET), values)
            await append(connection, event)
