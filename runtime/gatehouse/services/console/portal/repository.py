"""Stores links to the portal and sessions of customers in PostgreSQL. Only keyed digests of codes
and cookies are stored. A change and its audit event are one transaction.
"""

from collections.abc import Callable

import msgspec

from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.clock import to_datetime
from gatehouse.core.keys import CustomerState
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.db.statements import RowMapping, placeholders


class PortalSession(msgspec.Struct, frozen=True):
    """A link to the portal, or the session that it started. Times are Unix seconds.

    language: empty for the language of the browser. opened_at: None for a link.
    """

    id: str  # not secret
    customer_id: str
    language: str
    created_at: float
    opened_at: float | None
    ends_at: float


_SESSION = RowMapping(PortalSession)
_INSERT = (
    f"INSERT INTO portal_session ({_SESSION.select}, digest) "
    f"VALUES ({placeholders(len(_SESSION.columns) + 1)})"
)
_DELETE_OLDEST = (
    "DELETE FROM portal_session WHERE id IN (SELECT id FROM portal_session "
    "WHERE customer_id = $1 ORDER BY created_at DESC, id OFFSET $2)"
)
_OPEN = (
    "UPDATE portal_session SET digest = $2, opened_at = $3, ends_at = $4 WHERE digest = ANY ($1) "
    "AND opened_at IS NULL AND ends_at > $3 AND EXISTS "
    f"(SELECT FROM customer WHERE id = customer_id AND state = '{CustomerState.ACTIVE}') "
    f"RETURNING {_SESSION.select}"
)


class PortalSessionRepository:
    """Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, link: PortalSession, digest: bytes, keep: int, event: AuditEvent) -> None:
        """Add a link, and keep the newest `keep` links and sessions of the customer."""
        async with self._pool.transaction() as connection:
            await connection.execute(_INSERT, *_SESSION.values(link), digest)
            await connection.execute(_DELETE_OLDEST, link.customer_id, keep)
            await append(connection, event)

    async def open(
        self,
        link: list[bytes],
        digest: bytes,
        *,
        now: float,
        ends_at: float,
        event: Callable[[PortalSession], AuditEvent],
    ) -> PortalSession | None:
        """Turn the link with one of these digests into a session with another digest. Returns None
        if the link does not exist, was used or has expired, or if the customer is not active.
        """
        times = to_datetime(now), to_datetime(ends_at)
        async with self._pool.transaction() as connection:
            row = await connection.fetchrow(_OPEN, link, digest, *times)
            if row is None:
                return None
            session = _SESSION.read(row)
            await append(connection, event(session))
        return session

    async def find(self, digests: list[bytes]) -> PortalSession | None:
        """The link or session with one of these digests, even if it has ended."""
        return await _SESSION.first(self._pool, "portal_session WHERE digest = ANY ($1)", digests)

    async def end(self, session_id: str) -> None:
        await self._pool.execute("DELETE FROM portal_session WHERE id = $1", session_id)

    async def prune(self, *, now: float) -> int:
        """Delete links and sessions that have ended. Returns their number."""
        statement = "DELETE FROM portal_session WHERE ends_at <= $1"
        return await self._pool.execute(statement, to_datetime(now))
