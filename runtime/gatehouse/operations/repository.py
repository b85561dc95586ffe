"""Log level of a running deployment, in PostgreSQL."""

from __future__ import annotations

import msgspec

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.db.pool import Pool
from gatehouse.db.statements import RowMapping
from gatehouse.observability import Level

READ_TIMEOUT_S = 2.0


class LogLevelOverride(msgspec.Struct, frozen=True):
    """A log level that replaces GATEHOUSE_LOG_LEVEL of every process for a time."""

    level: Level
    until: float  # Unix seconds
    set_by: str


_OVERRIDE = RowMapping(LogLevelOverride)

_SET = (
    f"{_OVERRIDE.insert('log_level')}"
    " ON CONFLICT (sole) DO UPDATE SET level = EXCLUDED.level, until = EXCLUDED.until, set_by = EXCLUDED.set_by"
)


class LogLevelRepository:
    """Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self) -> LogLevelOverride | None:
        """The last override, even if it has ended."""
        row = await self._pool.fetchrow(f"SELECT {_OVERRIDE.select} FROM log_level", timeout_s=READ_TIMEOUT_S)
        return None if row is None else _OVERRIDE.read(row)

    async def set(self, override: LogLevelOverride | None, event: AuditEvent) -> None:
        """None removes the override."""
        async with self._pool.transaction() as connection:
            if override is None:
                await connection.execute("DELETE FROM log_level")
            else:
                await connection.execute(_SET, *_OVERRIDE.values(override).values())
            await append(connection, event)
