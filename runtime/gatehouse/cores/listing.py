"""The registered Cores as the console lists them; registering them is the gateway's work."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.audit.chain import as_seconds
from gatehouse.cores.models import CoreName, CoreRecord
from gatehouse.db.engine import connected
from gatehouse.db.tables import core
from gatehouse.keys.models import KeyEnvironment, KeyId


class PostgresCoreListing:
    """`ports.Directory` on the table `core`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(self, *, after: CoreName | None, size: int) -> tuple[tuple[CoreRecord, ...], CoreName | None]:
        """Cores by name, and the position behind the last one unless it is the last page. Raises Unavailable."""
        query = select(core).order_by(core.c.name).limit(size + 1)
        if after is not None:
            query = query.where(core.c.name > after)
        async with connected(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        found = tuple(
            CoreRecord(
                name=CoreName(row.name),
                url=row.url,
                environment=KeyEnvironment(row.environment),
                lease_id=row.lease_id,
                registered_by=KeyId(row.registered_by),
                pepper_generation=row.pepper_generation,
                expires_at=as_seconds(row.expires_at),
                draining=row.draining,
                version=row.version,
            )
            for row in rows[:size]
        )
        return found, found[-1].name if len(rows) > size else None
