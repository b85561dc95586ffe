"""Ends a key from the gateway's side, in one transaction with its audit event; the worker that did it knows at once.

The JSON of POST /v1/keys/revoke-self: the token that shall end, and why.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
import msgspec

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.writer import append_event
from gatehouse.errors import Unavailable
from gatehouse.http.request_schema import bad_member, decode_body
from gatehouse.keys.models import KeyId, KeyRecord
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.repository import COLUMNS, key_record
from gatehouse.verification.schemas import TOKEN_CHARS_MAX

#: Failure side: closed. The holder is told that nothing was revoked and tries again.
WRITE_TIMEOUT_S = 5.0


CONFIRM_POLL_S = 0.05


_LAGGING = "SELECT EXISTS (SELECT FROM gateway_worker WHERE confirmed_seq < $1 AND seen_at > clock_timestamp() - make_interval(secs => $2))"


Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class PostgresSelfRevocations:
    """`ports.SelfRevocations` on the table `api_key`."""

    def __init__(self, pool: Pool, cache: KeyCache, *, staleness_s: float) -> None:
        """`staleness_s`: how old a worker's picture may get before it refuses by itself; one silent for twice that is gone."""
        self._live_s = 2 * staleness_s
        self._pool = pool
        self._cache = cache

    async def revoke(self, key_id: KeyId, *, at: float, by: str, reason: str, event: AuditEvent) -> tuple[KeyRecord, int] | None:
        try:
            async with self._pool.acquire(timeout=WRITE_TIMEOUT_S) as connection, connection.transaction():
                row = await connection.fetchrow(
                    "UPDATE api_key SET state = 'revoked', revoked_at = $2, revoked_by = $3, revoke_reason = $4"  # noqa: S608
                    f" WHERE id = $1 AND state IN ('active', 'disabled') RETURNING {COLUMNS}, change_seq",
                    key_id,
                    datetime.fromtimestamp(at, UTC),
                    by,
                    reason,
                )
                if row is not None:
                    await append_event(connection, event)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            detail = f"self-revoke: {type(exc).__name__}"
            raise Unavailable("The key cannot be revoked at the moment; try again", detail=detail) from exc
        if row is None:
            return None
        record = key_record(row)
        self._cache.change(record)
        return record, int(row["change_seq"])

    async def confirmed_everywhere(self, change_seq: int, *, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while await self._pool.fetchval(_LAGGING, change_seq, self._live_s):
                    await asyncio.sleep(CONFIRM_POLL_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return False
        return True


REASON_CHARS_MAX = 300


class SelfRevoke(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str
    reason: str = ""


class SelfRevoked(msgspec.Struct, frozen=True):
    """`everywhere`: every live gateway has confirmed it. `within_bound`: this one has, every other refuses within the bound."""

    key_id: str
    effective: str
    request_id: str


_decoder = msgspec.json.Decoder(SelfRevoke)


def decode(body: bytes) -> SelfRevoke:
    """Raises BadRequest that names the member which is wrong."""
    request = decode_body(_decoder, body)
    if len(request.token) > TOKEN_CHARS_MAX:
        raise bad_member("body.token", f"is longer than {TOKEN_CHARS_MAX} characters", "send the key as it was shown")
    if len(request.reason) > REASON_CHARS_MAX or not request.reason.isprintable():
        raise bad_member("body.reason", f"must be at most {REASON_CHARS_MAX} printable characters", "say it shorter")
    return request
