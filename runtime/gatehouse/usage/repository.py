"""Counts of use in PostgreSQL: a worker's batch in one transaction, counted once however often it is sent."""

from __future__ import annotations

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from gatehouse.audit.chain import as_datetime
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.writer import append_event
from gatehouse.errors import Unavailable
from gatehouse.usage.models import KEPT_S, UnusualUse, UsageBatch

ACTION = "key.unusual"


#: A key that slept this long and is used again.
DORMANT_S = 30 * 86_400


#: The same thing about the same key is told once in this time, whichever worker saw it.
QUIET_S = 3600


#: Addresses that are kept for a key. One that is used from more is used from anywhere: there is nothing unusual left to tell.
ADDRESSES_MAX = 100


_FRESH = """
INSERT INTO usage_flush (worker_id, batch, seen_at) VALUES ($1, $2, $3)
ON CONFLICT (worker_id) DO UPDATE SET batch = EXCLUDED.batch, seen_at = EXCLUDED.seen_at WHERE usage_flush.batch < EXCLUDED.batch
RETURNING batch
"""


# A worker may count a key for a moment after its purge. Reading waits for no lock.
_PURGED = "SELECT id FROM api_key WHERE id = ANY ($1) AND state = 'purged'"


# In the order of the primary key: workers that write the same buckets at once take their locks in one order.
_COUNT = """
INSERT INTO usage_count (width_s, key_id, starts_at, core, code, count)
SELECT width_s, key_id, to_timestamp(minute - minute % width_s) AS starts_at, core, code, sum(count)
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS row (key_id, core, code, minute, count),
     unnest($6::integer[]) AS width_s
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (width_s, key_id, starts_at, core, code) DO UPDATE SET count = usage_count.count + EXCLUDED.count
"""


# `before` reads the rows as they were when the statement began.
_USED = """
WITH used AS (SELECT * FROM unnest($1::text[], $2::timestamptz[]) AS row (key_id, last_used_at) ORDER BY key_id),
     before AS (SELECT key_id, last_used_at FROM key_activity WHERE key_id = ANY ($1)),
     written AS (INSERT INTO key_activity (key_id, last_used_at) SELECT * FROM used
         ON CONFLICT (key_id) DO UPDATE SET last_used_at = greatest(key_activity.last_used_at, EXCLUDED.last_used_at))
SELECT key_id, extract(epoch FROM used.last_used_at - before.last_used_at)::bigint AS silent_s
FROM used JOIN before USING (key_id) WHERE used.last_used_at - before.last_used_at > make_interval(secs => $3)
"""


_SIGHTED = """
WITH seen AS (SELECT * FROM unnest($1::text[], $2::text[]) AS row (key_id, address) ORDER BY 1, 2),
     known AS (SELECT key_id, count(*) AS number FROM key_address WHERE key_id = ANY ($1) GROUP BY 1),
     added AS (INSERT INTO key_address (key_id, address, first_seen_at)
         SELECT key_id, address, $3 FROM seen LEFT JOIN known USING (key_id) WHERE coalesce(number, 0) < $4
         ON CONFLICT DO NOTHING RETURNING key_id, address)
SELECT key_id, address FROM added JOIN known USING (key_id)
"""


_ALERT = """
INSERT INTO key_alert (key_id, kind, raised_at) VALUES ($1, $2, $3)
ON CONFLICT (key_id, kind) DO UPDATE SET raised_at = EXCLUDED.raised_at
WHERE key_alert.raised_at <= EXCLUDED.raised_at - make_interval(secs => $4) RETURNING key_id
"""


class PostgresUsage:
    """`ports_usage.UsageLedger` on the gateway's pool."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def add(self, batch: UsageBatch) -> tuple[UnusualUse, ...]:
        """Timeout: the pool's own for statements (15 s). Failure side: the caller keeps the batch and sends it again."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                return await _add(connection, batch)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise Unavailable("Use cannot be counted at the moment", detail=type(exc).__name__) from exc


async def _add(connection: PoolConnectionProxy[asyncpg.Record], batch: UsageBatch) -> tuple[UnusualUse, ...]:
    now = as_datetime(batch.at)
    if await connection.fetchval(_FRESH, batch.worker_id, batch.number, now) is None:
        return ()  # counted before; its confirmation was lost on the way
    batch = _without(batch, {row["id"] for row in await connection.fetch(_PURGED, [row.key_id for row in batch.rows])})
    rows = batch.rows
    await connection.execute(
        _COUNT,
        [row.key_id for row in rows],
        [row.core for row in rows],
        [row.code for row in rows],
        [row.minute for row in rows],
        [row.count for row in rows],
        list(KEPT_S),
    )
    unusual = [UnusualUse(key_id, "refusals", number=count) for key_id, count in batch.bursts.items()]
    if batch.last_used:
        instants = [as_datetime(at) for at in batch.last_used.values()]
        woken = await connection.fetch(_USED, list(batch.last_used), instants, float(DORMANT_S))
        unusual += [UnusualUse(row["key_id"], "dormant", number=row["silent_s"] // 86_400) for row in woken]
    if batch.sightings:
        keys, addresses = [one.key_id for one in batch.sightings], [one.address for one in batch.sightings]
        added = await connection.fetch(_SIGHTED, keys, addresses, now, ADDRESSES_MAX)
        unusual += [UnusualUse(row["key_id"], "new_address", address=row["address"]) for row in added]
    told = []
    for one in unusual:
        if await connection.fetchval(_ALERT, one.key_id, one.kind, now, float(QUIET_S)) is not None:
            await append_event(connection, _event(one, batch.at))
            told.append(one)
    return tuple(told)


def _without(batch: UsageBatch, gone: set[str]) -> UsageBatch:
    """The batch with the use of purged keys counted for no key."""
    if not gone:
        return batch
    return msgspec.structs.replace(
        batch,
        rows=tuple(msgspec.structs.replace(row, key_id="") if row.key_id in gone else row for row in batch.rows),
        last_used={key_id: at for key_id, at in batch.last_used.items() if key_id not in gone},
        sightings=tuple(one for one in batch.sightings if one.key_id not in gone),
        bursts={key_id: count for key_id, count in batch.bursts.items() if key_id not in gone},
    )


def _event(unusual: UnusualUse, at: float) -> AuditEvent:
    number = {"refusals": {"refusals": unusual.number}, "dormant": {"silent_days": unusual.number}}.get(unusual.kind, {})
    return AuditEvent(
        occurred_at=at,
        actor_type="system",
        actor_id="usage",
        action=ACTION,
        target_type="key",
        target_id=unusual.key_id,
        outcome="success",
        request_id="",
        source_address=unusual.address,
        details={"kind": unusual.kind, **number},
    )
