"""Writes the audit events of secrets to PostgreSQL, and counts them."""

from collections.abc import Sequence

from gatehouse.core.audit_events import AuditAction
from gatehouse.features.secrets.models import SharingEvent
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.db.statements import prune

#: Maximum number of denied attempts that are counted for a secret.
COUNTED_MAX = 10_000
#: By the clock of the database, because an event without its ID would be recorded again.
_RECORDED_BEFORE = "SELECT now() - interval '30 days'"
_RECORDED = "SELECT id FROM sharing_event WHERE id = ANY ($1)"
_ADD = "INSERT INTO sharing_event (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id"
_DENIED = (
    "SELECT link, count(*) AS number FROM (SELECT coalesce(details ->> 'link', '') AS link "
    "FROM audit_event WHERE target_id = $1 AND action = $2 LIMIT $3) AS first GROUP BY 1"
)


class SecretEventRepository:
    """Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record(self, events: Sequence[SharingEvent]) -> None:
        """Append the events that are not in the audit trail yet, each in one transaction with its
        ID.
        """
        rows = await self._pool.fetch(_RECORDED, [event.id for event in events]) if events else []
        recorded = {row["id"] for row in rows}
        for event in [each for each in events if each.id not in recorded]:
            async with self._pool.transaction() as connection:
                if await connection.fetchval(_ADD, event.id) is not None:
                    await append(connection, event.audit_event)

    async def denied_attempts(self, secret_id: str) -> dict[str, int]:
        """Return the number of denied attempts by link."""
        values = secret_id, AuditAction.LINK_DENIED.value, COUNTED_MAX
        return {row["link"]: row["number"] for row in await self._pool.fetch(_DENIED, *values)}

    async def prune(self) -> None:
        """Delete the IDs of events that were recorded more than 30 days ago."""
        before = await self._pool.fetchval(_RECORDED_BEFORE)
        await prune(self._pool, "sharing_event", "recorded_at", before=before)
