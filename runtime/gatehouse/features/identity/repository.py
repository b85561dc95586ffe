"""Stores sessions of the console in PostgreSQL. Only keyed digests of the cookies are stored, never
a cookie.
"""

from gatehouse.core.actor import Session
from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.clock import to_datetime
from gatehouse.core.errors import Unauthorized
from gatehouse.features.identity.models import INVALID_LINK, SignInLink
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Pool, row_count
from gatehouse.platform.db.statements import Conditions, RowMapping, placeholders

_SESSION = RowMapping(Session)
_LINK = RowMapping(SignInLink)

#: Maximum number of sessions in a list.
SESSIONS_LISTED_MAX = 500

_INSERT = (
    f"INSERT INTO console_session ({_SESSION.select}, digest) "
    f"VALUES ({placeholders(len(_SESSION.columns) + 1)})"
)

_DELETE_OLDEST = (
    "DELETE FROM console_session WHERE id IN (SELECT id FROM console_session "
    "WHERE actor_type = $1 AND actor_id = $2 ORDER BY created_at DESC, id OFFSET $3)"
)

_REPLACE_LINK = (
    f"INSERT INTO sign_in_link ({_LINK.select}, digest) "
    f"VALUES ({placeholders(len(_LINK.columns) + 1)}) ON CONFLICT (actor_type, actor_id) DO UPDATE "
    "SET roles = excluded.roles, bond = excluded.bond, proven_at = excluded.proven_at, "
    "expires_at = excluded.expires_at, digest = excluded.digest"
)


class SessionRepository:
    """Stores sessions and sign-in links. Methods raise Unavailable. A change and its audit event
    are one transaction.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(
        self,
        session: Session,
        digest: bytes,
        *,
        keep: int,
        replaces: str | None,
        link: list[bytes],
        event: AuditEvent,
    ) -> None:
        """Add a session, and delete the session `replaces` and the sign-in link with a digest in
        `link`. Keeps the newest `keep` sessions of the actor. Raises Unauthorized if the link no
        longer exists.
        """
        async with self._pool.transaction() as connection:
            used = "DELETE FROM sign_in_link WHERE digest = ANY ($1)"
            if link and row_count(await connection.execute(used, link)) == 0:
                raise Unauthorized(INVALID_LINK)
            if replaces is not None:
                await connection.execute("DELETE FROM console_session WHERE id = $1", replaces)
            await connection.execute(_INSERT, *_SESSION.values(session), digest)
            await connection.execute(_DELETE_OLDEST, session.actor_type, session.actor_id, keep)
            await append(connection, event)

    async def find(self, digests: list[bytes]) -> Session | None:
        """Return the session with one of these digests, even if the session has ended."""
        return await _SESSION.first(self._pool, "console_session WHERE digest = ANY ($1)", digests)

    async def touch(self, session_id: str, *, seen_at: float) -> None:
        statement = "UPDATE console_session SET seen_at = greatest(seen_at, $2) WHERE id = $1"
        await self._pool.execute(statement, session_id, to_datetime(seen_at))

    async def list_for(self, actor: tuple[str, str] | None) -> list[Session]:
        """Return the newest sessions of an actor (None: of all actors), newest first, including
        ended sessions.
        """
        where = _conditions(actor)
        newest = f"ORDER BY created_at DESC, id LIMIT {SESSIONS_LISTED_MAX}"
        return await _SESSION.all(self._pool, f"console_session{where} {newest}", *where.values)

    async def end(
        self, session_id: str, *, actor: tuple[str, str] | None, event: AuditEvent
    ) -> bool:
        """End a session. Returns False if the session does not exist or does not belong to `actor`
        (None: any actor).
        """
        where = _conditions(actor)
        where.add("id = {}", session_id)
        async with self._pool.transaction() as connection:
            deleted = row_count(
                await connection.execute(f"DELETE FROM console_session{where}", *where.values)
            )
            if deleted:
                await append(connection, event)
        return deleted == 1

    async def end_all(self, *, actor: tuple[str, str] | None, event: AuditEvent) -> int:
        """End all sessions and delete the sign-in links of the actor, or of every actor if `actor`
        is None.

        Returns the number of ended sessions. The event is appended even if no session is ended.
        """
        where = _conditions(actor)
        async with self._pool.transaction() as connection:
            # First the links, so that the sessions that they are starting are found.
            await connection.execute(f"DELETE FROM sign_in_link{where}", *where.values)
            deleted = row_count(
                await connection.execute(f"DELETE FROM console_session{where}", *where.values)
            )
            await append(connection, event)
        return deleted

    async def replace_link(self, link: SignInLink, digest: bytes, event: AuditEvent) -> None:
        async with self._pool.transaction() as connection:
            await connection.execute(_REPLACE_LINK, *_LINK.values(link), digest)
            await append(connection, event)

    async def link(self, digests: list[bytes]) -> SignInLink | None:
        """Return the sign-in link with one of these digests, even if it has expired."""
        return await _LINK.first(self._pool, "sign_in_link WHERE digest = ANY ($1)", digests)

    async def prune(self, *, seen_before: float, now: float) -> int:
        """Delete expired links and ended sessions. Returns their number."""
        links = await self._pool.execute(
            "DELETE FROM sign_in_link WHERE expires_at <= $1", to_datetime(now)
        )
        statement = "DELETE FROM console_session WHERE ends_at <= $1 OR seen_at <= $2"
        ended = await self._pool.execute(statement, to_datetime(now), to_datetime(seen_before))
        return links + ended


def _conditions(actor: tuple[str, str] | None) -> Conditions:
    where = Conditions()
    if actor is not None:
        where.add_equal(actor_type=actor[0], actor_id=actor[1])
    return where
