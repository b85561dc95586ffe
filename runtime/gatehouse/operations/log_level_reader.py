"""The log level as a gateway worker reads it: on its pool, without the console's database toolkit."""

from __future__ import annotations

import asyncpg

from gatehouse.audit.chain import as_seconds
from gatehouse.errors import Unavailable
from gatehouse.operations.models import LogLevelOverride


class PoolLevels:
    """`ports_level.LevelSource` on the gateway's pool."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def wish(self) -> LogLevelOverride | None:
        """Timeout: two seconds. Failure side: the caller keeps the level that it has."""
        try:
            row = await self._pool.fetchrow("SELECT level, until, set_by FROM log_level", timeout=2)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise Unavailable("The log level cannot be read", detail=type(exc).__name__) from exc
        return None if row is None else LogLevelOverride(row["level"], as_seconds(row["until"]), row["set_by"])
