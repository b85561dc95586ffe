"""Where keys were found, in PostgreSQL: the first report of a place writes its audit row in the same transaction."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.core.auditchain import as_datetime
from gatehouse.store.postgres_audit import append
from gatehouse.store.postgres_engine import transaction
from gatehouse.store.postgres_tables import key_leak
from gatehouse.types import AuditEvent, KeyId

#: Places that are kept for a key: a token that lies in more is known to be public.
PLACES_MAX = 100


class PostgresLeaks:
    """`ports_leak.Leaks` on the table `key_leak`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def record(self, key_id: KeyId, place: bytes, event: AuditEvent) -> bool:
        known = select(func.count()).select_from(key_leak).where(key_leak.c.key_id == key_id)
        write = upsert(key_leak).values(key_id=key_id, place=place, reported_at=as_datetime(event.occurred_at))
        async with transaction(self._engine) as connection:
            if (await connection.execute(known)).scalar_one() >= PLACES_MAX:
                return False
            new = (await connection.execute(write.on_conflict_do_nothing())).rowcount == 1
            if new:
                await append(connection, event)
        return new
