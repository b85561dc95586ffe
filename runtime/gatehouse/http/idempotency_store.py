"""Idempotency keys in PostgreSQL: one row per caller and key, claimed by the request that inserts it first."""

from __future__ import annotations

import msgspec

from gatehouse.db.pool import Pool
from gatehouse.timestamps import to_datetime, to_seconds

#: Maximum clock difference of two consoles, for the search of the audit event of a request.
_CLOCK_SKEW_S = 60.0

_CLAIM = (
    "INSERT INTO idempotent_request AS request (lookup, fingerprint, request_id, claimed_at, expires_at)"
    " VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (lookup) DO UPDATE SET fingerprint = $2, request_id = $3, claimed_at = $4, expires_at = $5, running = true,"
    " target_id = '', generation = NULL, sealed = NULL WHERE request.expires_at <= $4 RETURNING true"
)

_FIND = "SELECT fingerprint, request_id, claimed_at, running, generation, sealed FROM idempotent_request WHERE lookup = $1"

_TARGET = "SELECT target_id FROM audit_event WHERE occurred_at >= $1 AND request_id = $2 AND outcome = 'success' LIMIT 1"

_TAKE_OVER = (
    "UPDATE idempotent_request SET fingerprint = $2, request_id = $3, claimed_at = $4, expires_at = $5, running = true,"
    " target_id = '' WHERE lookup = $1 AND request_id = $6 AND sealed IS NULL"
)

_KEEP = (
    "UPDATE idempotent_request SET running = false, target_id = $3, generation = $4, sealed = $5"
    " WHERE lookup = $1 AND request_id = $2"
)


class Claim(msgspec.Struct, frozen=True):
    """A request that is about to act. Times are Unix seconds."""

    lookup: bytes  # 32 bytes, of the caller and the key
    fingerprint: bytes  # 32 bytes, of the request
    request_id: str
    at: float
    expires_at: float


class Earlier(msgspec.Struct, frozen=True):
    """An earlier request with the same key."""

    fingerprint: bytes
    request_id: str
    claimed_at: float
    running: bool  # it has not reported its end
    generation: int | None  # pepper generation that the response is sealed under
    sealed: bytes | None  # the response, if it is stored
    target_id: str  # what it created or changed, according to the audit trail; empty: nothing


class IdempotencyStore:
    """Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, claim: Claim) -> Earlier | None:
        """Claim the key. None on success; exactly one of several concurrent requests succeeds."""
        async with self._pool.transaction() as connection:
            if await connection.fetchval(_CLAIM, *_values(claim)):
                return None
            row = await connection.fetchrow(_FIND, claim.lookup)
            if row is None:
                # Released between the two statements: the next attempt will claim it.
                return Earlier(claim.fingerprint, claim.request_id, claim.at, True, None, None, "")
            claimed_at, target_id = to_seconds(row["claimed_at"]), None
            if row["sealed"] is None:
                target_id = await connection.fetchval(_TARGET, to_datetime(claimed_at - _CLOCK_SKEW_S), row["request_id"])
        return Earlier(**{**row, "claimed_at": claimed_at}, target_id=target_id or "")

    async def take_over(self, claim: Claim, earlier: Earlier) -> bool:
        """Claim the key of an earlier request that did nothing. False if another request was faster."""
        return await self._pool.execute(_TAKE_OVER, *_values(claim), earlier.request_id) == 1

    async def keep(self, claim: Claim, *, target_id: str, generation: int, sealed: bytes) -> None:
        """Store the response of the request that claimed the key."""
        await self._pool.execute(_KEEP, claim.lookup, claim.request_id, target_id, generation, sealed)

    async def release(self, claim: Claim, *, forget: bool) -> None:
        """End a request without a response to store. `forget`: it did nothing, so the key becomes unused."""
        statement = "DELETE FROM idempotent_request" if forget else "UPDATE idempotent_request SET running = false"
        await self._pool.execute(f"{statement} WHERE lookup = $1 AND request_id = $2", claim.lookup, claim.request_id)

    async def prune(self, *, now: float) -> int:
        """Delete expired rows. Returns their number."""
        return await self._pool.execute("DELETE FROM idempotent_request WHERE expires_at <= $1", to_datetime(now))


def _values(claim: Claim) -> tuple[object, ...]:
    return claim.lookup, claim.fingerprint, claim.request_id, to_datetime(claim.at), to_datetime(claim.expires_at)
