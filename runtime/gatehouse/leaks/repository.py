"""Places where API keys were publicly exposed, in PostgreSQL."""

from __future__ import annotations

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.db.pool import Pool, row_count
from gatehouse.keys.models import KeyId
from gatehouse.timestamps import to_datetime

#: Maximum number of places that are stored for a key. Reports of further places are ignored.
PLACES_MAX = 100


class LeakRepository:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record(self, key_id: KeyId, place: bytes, event: AuditEvent) -> bool:
        """Store the place and append the event. False if the place is known or PLACES_MAX is reached. Raises Unavailable."""
        async with self._pool.transaction() as connection:
            known = await connection.fetchval("SELECT count(*) FROM key_leak WHERE key_id = $1", key_id)
            if known >= PLACES_MAX:
                return False
            statement = "INSERT INTO key_leak (key_id, place, reported_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
            status = await connection.execute(statement, key_id, place, to_datetime(event.occurred_at))
            if not row_count(status):
                return False
            await append(connection, event)
        return True
