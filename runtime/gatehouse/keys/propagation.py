"""Propagation of changes to the gateway workers, as their rows in `gateway_worker` state it.

A worker that has not written its row for longer than the propagation bound denies all keys; one that has been silent
for twice the bound is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gatehouse.db.pool import Connection, Pool
from gatehouse.errors import Unavailable

#: The first wait between two queries, and the longest: each wait is twice the one before.
_POLL_MIN_S, _POLL_MAX_S = 0.005, 0.05

_LAGGING = (
    "SELECT EXISTS (SELECT FROM gateway_worker WHERE confirmed_seq < $1 AND seen_at > clock_timestamp()"
    " - make_interval(secs => $2))"
)

_WRITABLE = (
    "SELECT max(candidate) FROM unnest($1::integer[]) AS candidate WHERE NOT EXISTS ("
    " SELECT FROM gateway_worker WHERE seen_at > now() - make_interval(secs => $2)"
    " AND NOT candidate = ANY (generations) AND generations <> '{}')"
)


async def is_confirmed(pool: Pool, change_seq: int, *, live_s: float, timeout_s: float) -> bool:
    """True once every live gateway worker has applied the change. False after `timeout_s`, or without a database connection."""
    wait_s = _POLL_MIN_S
    try:
        async with asyncio.timeout(timeout_s):
            while await pool.fetchval(_LAGGING, change_seq, live_s):
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _POLL_MAX_S)
    except (TimeoutError, Unavailable):
        return False
    return True


async def writable_generation(database: Pool | Connection, generations: Sequence[int], *, live_s: float) -> int | None:
    """The newest of these pepper generations that every live gateway worker can read. Raises Unavailable."""
    generation: int | None = await database.fetchval(_WRITABLE, list(generations), live_s)
    return generation
