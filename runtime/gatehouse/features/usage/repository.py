"""Stores the usage of API keys in PostgreSQL. Adds batches from gateway workers to the counters,
and reads the points of reports."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details
from gatehouse.core.clock import to_datetime, to_seconds
from gatehouse.core.verification import Code
from gatehouse.features.usage.models import UnusualUse, UsageBatch, UsagePoint
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Connection, Pool, row_count
from gatehouse.platform.db.statements import Conditions

#: Width of the stored buckets in seconds -> retention in seconds.
RETENTION_S = {60: 2 * 86_400, 3600: 90 * 86_400, 86_400: 3 * 366 * 86_400}

#: Maximum number of points in a report.
POINTS_MAX = 10_000

#: The first use of a key after more than this number of seconds without use is unusual.
DORMANT_S = 30 * 86_400

#: Minimum interval between alerts of the same kind for a key, across all workers.
ALERT_INTERVAL_S = 3600

#: Maximum number of stored addresses per key. Further addresses are not reported as unusual.
#: Workers that write at the same time can exceed this number once.
ADDRESSES_MAX = 100

_CLAIM_BATCH = """
INSERT INTO usage_batch (worker_id, number, seen_at) VALUES ($1, $2, $3)
ON CONFLICT (worker_id) DO UPDATE SET number = EXCLUDED.number, seen_at = EXCLUDED.seen_at
WHERE usage_batch.number < EXCLUDED.number
RETURNING number
"""

# A worker can count requests with a key shortly after the key is purged. This query does not wait
# for locks.
_PURGED = "SELECT id FROM api_key WHERE id = ANY ($1) AND state = 'purged'"

# Rows are in the order of the primary key, so that concurrent workers lock the same buckets in the
# same order.
_COUNT = """
INSERT INTO usage_count (width_s, key_id, starts_at, core, code, count)
SELECT width_s, key_id, to_timestamp(minute - minute % width_s) AS starts_at, core, code, sum(count)
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS row (key_id, core, code, minute, count),
     unnest($6::integer[]) AS width_s
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (width_s, key_id, starts_at, core, code) DO UPDATE SET count = usage_count.count + EXCLUDED.count
"""  # noqa: E501

# `before` contains the rows as they were before the statement.
_ADD_ACTIVITY = """
WITH used AS (SELECT * FROM unnest($1::text[], $2::timestamptz[]) AS row (key_id, last_used_at) ORDER BY key_id),
     before AS (SELECT key_id, last_used_at FROM key_activity WHERE key_id = ANY ($1)),
     written AS (INSERT INTO key_activity (key_id, last_used_at) SELECT * FROM used
         ON CONFLICT (key_id) DO UPDATE SET last_used_at = greatest(key_activity.last_used_at, EXCLUDED.last_used_at))
SELECT key_id, extract(epoch FROM used.last_used_at - before.last_used_at)::bigint AS silent_s
FROM used JOIN before USING (key_id) WHERE used.last_used_at - before.last_used_at > make_interval(secs => $3)
"""  # noqa: E501

_ADD_ADDRESSES = """
WITH known AS (SELECT key_id, count(*) AS number FROM key_address WHERE key_id = ANY ($1) GROUP BY 1),
     new AS (SELECT * FROM unnest($1::text[], $2::text[]) AS used (key_id, address)
         EXCEPT SELECT key_id, address FROM key_address WHERE key_id = ANY ($1)),
     added AS (INSERT INTO key_address (key_id, address, first_seen_at)
         SELECT key_id, address, $3
         FROM (SELECT *, row_number() OVER (PARTITION BY key_id ORDER BY address) AS position FROM new) AS numbered
         LEFT JOIN known USING (key_id) WHERE coalesce(number, 0) + position <= $4 ORDER BY 1, 2
         ON CONFLICT DO NOTHING RETURNING key_id, address)
SELECT key_id, address FROM added JOIN known USING (key_id)
"""  # noqa: E501

_ALERT = """
INSERT INTO key_alert (key_id, kind, raised_at) VALUES ($1, $2, $3)
ON CONFLICT (key_id, kind) DO UPDATE SET raised_at = EXCLUDED.raised_at
WHERE key_alert.raised_at <= EXCLUDED.raised_at - make_interval(secs => $4) RETURNING key_id
"""


class UsageRepository:
    """Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, batch: UsageBatch) -> tuple[UnusualUse, ...]:
        """Add a batch. Idempotent. Returns unusual use and appends it to the audit trail.

        Raises Unavailable, after which the caller sends the batch again.
        """
        async with self._pool.transaction() as connection:
            return await _add(connection, batch)

    async def series(
        self,
        *,
        width_s: int,
        since: float,
        until: float,
        by: frozenset[str] = frozenset(),
        key_id: str | None = None,
        core: str | None = None,
        code: str | None = None,
    ) -> tuple[UsagePoint, ...]:
        """Return the sums per bucket and per column in `by` (key_id, core, code), ordered by time.

        `since` is inclusive, and `until` is exclusive. Returns POINTS_MAX + 1 points if there are
        more than POINTS_MAX.
        """
        where = Conditions()
        where.add_equal(width_s=width_s, key_id=key_id, core=core, code=code)
        where.add("starts_at >= {} AND starts_at < {}", to_datetime(since), to_datetime(until))
        groups = ", ".join(
            ["starts_at", *(column for column in ("code", "core", "key_id") if column in by)]
        )
        statement = (
            f"SELECT {groups}, sum(count)::bigint AS count FROM usage_count{where}"
            f" GROUP BY {groups} ORDER BY {groups} LIMIT {where.bind(POINTS_MAX + 1)}"
        )
        return tuple(
            UsagePoint(
                to_seconds(row["starts_at"]),
                row.get("key_id"),
                row.get("core"),
                row.get("code"),
                row["count"],
            )
            for row in await self._pool.fetch(statement, *where.values)
        )

    async def busiest(
        self, *, width_s: int, since: float, until: float, denied: bool, limit: int
    ) -> list[tuple[str, int]]:
        """Return the keys with the most requests in the buckets from `since` to `until`, and their
        numbers of requests.

        denied: count only requests with another code than VALID.
        """
        where = Conditions()
        where.add_equal(width_s=width_s)
        where.add(
            "starts_at >= {} AND starts_at < {} AND key_id <> ''",
            to_datetime(since),
            to_datetime(until),
        )
        if denied:
            where.add("code <> {}", Code.VALID.value)
        statement = (
            f"SELECT key_id, sum(count)::bigint AS count FROM usage_count{where}"
            f" GROUP BY key_id ORDER BY count DESC, key_id LIMIT {where.bind(limit)}"
        )
        return [
            (row["key_id"], row["count"])
            for row in await self._pool.fetch(statement, *where.values)
        ]

    async def key_exists(self, key_id: str) -> bool:
        return bool(
            await self._pool.fetchval("SELECT EXISTS (SELECT FROM api_key WHERE id = $1)", key_id)
        )

    async def last_used(self, key_ids: tuple[str, ...]) -> dict[str, float]:
        """Return the last successful use of each key in Unix seconds. Keys that were never used are
        omitted.
        """
        statement = "SELECT key_id, last_used_at FROM key_activity WHERE key_id = ANY ($1)"
        return {
            row["key_id"]: to_seconds(row["last_used_at"])
            for row in await self._pool.fetch(statement, list(key_ids))
        }

    async def addresses(self, key_id: str) -> tuple[str, ...]:
        """Client addresses of a key, newest first."""
        statement = (
            "SELECT address FROM key_address WHERE key_id = $1 ORDER BY first_seen_at DESC, address"
        )
        return tuple(row["address"] for row in await self._pool.fetch(statement, key_id))

    async def prune(self, *, now: float) -> int:
        """Delete buckets older than RETENTION_S, and batch numbers of ended workers. Returns the
        number of deleted buckets.
        """
        instant = to_datetime(now)
        async with self._pool.transaction() as connection:
            status = await connection.execute(
                "DELETE FROM usage_count USING unnest($1::integer[], $2::timestamptz[]) AS "
                "expired (width, before)"
                " WHERE width_s = width AND starts_at < before",
                list(RETENTION_S),
                [instant - timedelta(seconds=seconds) for seconds in RETENTION_S.values()],
            )
            # A worker that has sent no batch for a day has ended and will not repeat a batch.
            await connection.execute(
                "DELETE FROM usage_batch WHERE seen_at < $1", instant - timedelta(days=1)
            )
        return row_count(status)


async def _add(connection: Connection, batch: UsageBatch) -> tuple[UnusualUse, ...]:
    now = to_datetime(batch.at)
    if await connection.fetchval(_CLAIM_BATCH, batch.worker_id, batch.number, now) is None:
        return ()  # the batch was added earlier, but the confirmation was lost
    batch = _without(
        batch,
        {row["id"] for row in await connection.fetch(_PURGED, [row.key_id for row in batch.rows])},
    )
    rows = batch.rows
    await connection.execute(
        _COUNT,
        [row.key_id for row in rows],
        [row.core for row in rows],
        [row.code for row in rows],
        [row.minute for row in rows],
        [row.count for row in rows],
        list(RETENTION_S),
    )
    unusual = [
        UnusualUse(key_id, "denials", number=count) for key_id, count in batch.bursts.items()
    ]
    if batch.last_used:
        times = [to_datetime(seconds) for seconds in batch.last_used.values()]
        dormant = await connection.fetch(
            _ADD_ACTIVITY, list(batch.last_used), times, float(DORMANT_S)
        )
        unusual += [
            UnusualUse(row["key_id"], "dormant", number=row["silent_s"] // 86_400)
            for row in dormant
        ]
    if batch.addresses:
        keys, addresses = (
            [use.key_id for use in batch.addresses],
            [use.address for use in batch.addresses],
        )
        added = await connection.fetch(_ADD_ADDRESSES, keys, addresses, now, ADDRESSES_MAX)
        unusual += [
            UnusualUse(row["key_id"], "new_address", address=row["address"]) for row in added
        ]
    alerts = []
    for use in unusual:
        if (
            await connection.fetchval(_ALERT, use.key_id, use.kind, now, float(ALERT_INTERVAL_S))
            is not None
        ):
            await append(connection, _event(use, batch.at))
            alerts.append(use)
    return tuple(alerts)


def _without(batch: UsageBatch, purged: set[str]) -> UsageBatch:
    """Return the batch with the requests of purged keys counted without a key."""
    if not purged:
        return batch
    return msgspec.structs.replace(
        batch,
        rows=tuple(
            msgspec.structs.replace(row, key_id="") if row.key_id in purged else row
            for row in batch.rows
        ),
        last_used={
            key_id: seconds for key_id, seconds in batch.last_used.items() if key_id not in purged
        },
        addresses=tuple(use for use in batch.addresses if use.key_id not in purged),
        bursts={key_id: count for key_id, count in batch.bursts.items() if key_id not in purged},
    )


def _event(use: UnusualUse, at: float) -> AuditEvent:
    details: Details = {"kind": use.kind}
    if use.number:
        details["silent_days" if use.kind == "dormant" else "denials"] = use.number
    actor = Actor("system", "usage", source_address=use.address)
    return actor.event(AuditAction.KEY_UNUSUAL, target_id=use.key_id, at=at, details=details)
