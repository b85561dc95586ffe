"""Where keys were found, in PostgreSQL: the first report of a place writes its audit row in the same transaction.

What leak reports need from the outside world: a memory of where each key was found.
"""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.audit.chain import as_datetime
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.db.engine import transaction
from gatehouse.db.tables import key_leak
from gatehouse.keys.models import KeyId

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


class Leaks(Protocol):
    async def record(self, key_id: KeyId, place: bytes, event: AuditEvent) -> bool:
        """Writes the event, unless the key was reported at this place before (or at too many): then False. Raises Unavailable."""
        ...
