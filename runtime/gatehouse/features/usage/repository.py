"""Stores the usage of API keys and requests in PostgreSQL. Adds batches from gateway workers, and
reads the points of reports and the requests."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec
from msgspec.structs import astuple, replace

from gatehouse.core.clock import rfc3339, to_datetime
from gatehouse.core.keys import KeyState, RateLimit
from gatehouse.core.verification import AGENT, Code
from gatehouse.features.usage.models import RecordedRequest, UsageBatch
from gatehouse.features.usage.retention import RETENTION_S
from gatehouse.features.usage.schemas import (
    TIMES_MAX,
    CheckTotal,
    FilterRequests,
    KeyTotal,
    LimitUse,
    Percentiles,
    RequestTotals,
    UsagePointView,
)
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.db.statements import OF_CREATED_CUSTOMER, Conditions, RowMapping, prune

#: Columns by which counts can be split, in the order of the fields of a point.
DIMENSIONS = ("key_id", "core", "code", "customer_id", "tag")

#: Maximum number of points in a report.
POINTS_MAX = 10_000

_CLAIM_BATCH = """
INSERT INTO usage_batch (worker_id, number, seen_at) VALUES ($1, $2, now())
ON CONFLICT (worker_id) DO UPDATE SET number = EXCLUDED.number, seen_at = EXCLUDED.seen_at
WHERE usage_batch.number < EXCLUDED.number
RETURNING number
"""

# A worker can count requests with a key shortly after the key is purged. This query does not wait
# for locks.
_PURGED = "SELECT id FROM api_key WHERE id = ANY ($1) AND state = 'purged'"

# The first parameters are the columns of `UsageRow`. Rows are in the order of the primary key, so
# that concurrent workers lock the same buckets in the same order.
_COUNT = """
INSERT INTO usage_count (width_s, key_id, starts_at, core, code, count)
SELECT width_s, key_id, to_timestamp(minute - minute % width_s) AS starts_at, core, code, sum(count)
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
         AS row (key_id, core, code, minute, count),
     unnest($6::integer[]) AS width_s
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (width_s, key_id, starts_at, core, code)
    DO UPDATE SET count = usage_count.count + EXCLUDED.count
"""

#: The key in the column `key_id` has this customer.
_OF_CUSTOMER = "key_id IN (SELECT id FROM api_key WHERE customer_id = {})"

#: Percentiles of the durations of requests that were allowed, in microseconds.
_PERCENTILES = """
WITH request AS (SELECT duration_us, core_us, count FROM gateway_request{}
    ORDER BY began_at DESC, id DESC LIMIT {}
), time AS (
    SELECT part, us, sum(count) OVER (PARTITION BY part ORDER BY us)
        / sum(count) OVER (PARTITION BY part) AS share
    FROM request CROSS JOIN LATERAL (VALUES ('ms', duration_us), ('core_ms', core_us),
        ('gateway_ms', duration_us - coalesce(core_us, 0))) AS part (part, us)
    WHERE us IS NOT NULL
)
SELECT part, min(us) FILTER (WHERE share >= 0.5), min(us) FILTER (WHERE share >= 0.95),
    min(us) FILTER (WHERE share >= 0.99)
FROM time GROUP BY part
"""
#: Condition of requests, by outcome.
_OUTCOMES = {"denied": "failed_check <> ''", "allowed": "failed_check = ''"}
_REQUEST = RowMapping(RecordedRequest)
#: Maximum number of stored requests. The oldest ones above it are deleted.
STORED_MAX = 2_000_000

_ADD_ACTIVITY = """
INSERT INTO key_activity (key_id, last_used_at)
SELECT key_id, $2 FROM unnest($1::text[]) AS row (key_id) ORDER BY key_id
ON CONFLICT (key_id)
    DO UPDATE SET last_used_at = greatest(key_activity.last_used_at, EXCLUDED.last_used_at)
"""

# $1: current time in Unix seconds. $2: minimum percentage. $3: key, or null. $4: maximum number of
# rows. $5: limits of keys for which neither the key nor its plan specifies limits. Only limits of
# families with a request in the period are evaluated. A refill that is due is applied at the next
# use, so the credits are then unused.
_LIMIT_USE = f"""
WITH recent AS (
    SELECT family_id, max(last_used_at) AS last_used_at
    FROM key_activity JOIN api_key ON id = key_id
    WHERE $3::text IS NULL OR family_id = (SELECT family_id FROM api_key WHERE id = $3)
    GROUP BY family_id
), newest AS (
    SELECT api_key.id, family_id, last_used_at, api_key.has_credits, coalesce(nullif(
        CASE WHEN 'limits' = ANY (inherits) THEN plan.limits ELSE api_key.limits END, '[]'
        ), $5::jsonb) AS limits
    FROM api_key JOIN recent USING (family_id)
    LEFT JOIN customer ON customer.id = customer_id
    LEFT JOIN plan ON plan.name = coalesce(api_key.plan, customer.plan)
    WHERE api_key.state = '{KeyState.ACTIVE}' AND successor_id IS NULL
        AND coalesce(expires_at, 'infinity') > to_timestamp($1)
), limit_use AS (
    SELECT id, 'rate_limit' AS kind, item.name, quota, window_s, since,
        units * cost AS used, quota * ($1 - since) / window_s AS allowed
    FROM newest
    CROSS JOIN LATERAL jsonb_to_recordset(limits)
        AS item (name text, quota bigint, window_s integer, cost bigint)
    CROSS JOIN LATERAL (SELECT CASE WHEN window_s <= 3600 THEN 60 WHEN window_s <= 86400 THEN 3600
        ELSE 86400 END AS width_s) AS bucket
    CROSS JOIN LATERAL (SELECT floor(($1 - window_s) / width_s) * width_s AS since) AS period
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(count), 0) AS units
        FROM api_key AS member JOIN usage_count ON key_id = member.id
        WHERE member.family_id = newest.family_id AND usage_count.width_s = bucket.width_s
            AND starts_at >= to_timestamp(since) AND code IN ('{Code.VALID}', '{AGENT}')) AS usage
    WHERE $3::text IS NOT NULL OR last_used_at >= to_timestamp(since)
    UNION ALL
    SELECT id, 'credits', '', refill_amount, NULL, extract(epoch FROM refilled_at)::float8,
        CASE WHEN refilled_at < date_trunc(refill_every, to_timestamp($1), 'UTC') THEN 0
        ELSE greatest(refill_amount - remaining, 0) END, refill_amount
    FROM newest JOIN key_credit USING (family_id) WHERE has_credits AND refill_amount IS NOT NULL
)
SELECT *, floor(100 * used / allowed)::bigint AS percent FROM limit_use
WHERE 100 * used >= $2::integer * allowed
ORDER BY used / allowed DESC, id, kind, name LIMIT $4
"""


class UsageRepository:
    """default_limits: rate limits of keys for which neither the key nor its plan specifies any."""

    def __init__(self, pool: Pool, default_limits: tuple[RateLimit, ...] = ()) -> None:
        self._pool = pool
        self._default_limits = msgspec.json.encode(default_limits).decode()

    async def add(self, batch: UsageBatch) -> None:
        """Add a batch. Idempotent. After Unavailable, the caller sends the batch again."""
        async with self._pool.transaction() as connection:
            if await connection.fetchval(_CLAIM_BATCH, batch.worker_id, batch.number) is None:
                return  # the batch was added earlier, but the confirmation was lost
            key_ids = {row.key_id for row in batch.rows} | {each.key_id for each in batch.requests}
            purged = {row["id"] for row in await connection.fetch(_PURGED, list(key_ids))}
            # Requests with a purged key are counted without a key.
            rows = [replace(row, key_id="") if row.key_id in purged else row for row in batch.rows]
            requests = (
                replace(each, key_id="") if each.key_id in purged else each
                for each in batch.requests
            )
            await connection.executemany(
                _REQUEST.insert("gateway_request"), map(_REQUEST.values, requests)
            )
            if not rows:
                return
            columns = zip(*map(astuple, rows), strict=True)
            await connection.execute(_COUNT, *map(list, columns), list(RETENTION_S))
            used = {row.key_id for row in rows if row.key_id}
            await connection.execute(_ADD_ACTIVITY, list(used), to_datetime(batch.at))

    async def add_use(self, key_id: str, at: float) -> None:
        """Store the time at which a key was sent to the console. Raises Unavailable."""
        await self._pool.execute(_ADD_ACTIVITY, [key_id], to_datetime(at))

    async def series(
        self,
        *,
        width_s: int,
        since: float,
        until: float,
        by: frozenset[str] = frozenset(),
        key_ids: Sequence[str] = (),
        core: str | None = None,
        code: str | None = None,
        customer_id: str | None = None,
        creator: str | None = None,
        tag: str | None = None,
    ) -> list[UsagePointView]:
        """Return the sums per bucket and per column in `by` (DIMENSIONS), ordered by time. Requests
        of agents are counted only with their code. creator:
        only customers that a key of the family of this key has created.

        `since` is inclusive, and `until` is exclusive. Returns POINTS_MAX + 1 points if there are
        more than POINTS_MAX.
        """
        where = Conditions()
        where.add_equal(width_s=width_s, core=core, code=code, customer_id=customer_id)
        where.add_range("starts_at", since, until)
        if key_ids:
            where.add("key_id = ANY ({}::text[])", list(key_ids))
        if code is None:
            where.add("code <> {}", AGENT)
        if tag is not None:
            where.add("tags @> ARRAY[{}]::text[]", tag)
        source = "usage_count"
        if creator is not None:
            where.add(OF_CREATED_CUSTOMER, creator)
        filters = (customer_id, creator, tag)
        if {"customer_id", "tag"} & by or any(each is not None for each in filters):
            source += " LEFT JOIN api_key ON api_key.id = key_id"
        if "tag" in by:
            source += " LEFT JOIN LATERAL unnest(tags) AS tag ON true"
        columns = [f"coalesce({column}, '')" if column in by else "NULL" for column in DIMENSIONS]
        groups = ", ".join(["starts_at", *(name for name in reversed(columns) if name != "NULL")])
        statement = (
            f"SELECT extract(epoch FROM starts_at)::bigint, sum(count)::bigint, "
            f"{', '.join(columns)} FROM {source}{where} "
            f"GROUP BY {groups} ORDER BY {groups} LIMIT {where.bind(POINTS_MAX + 1)}"
        )
        rows = await self._pool.fetch(statement, *where.values)
        # Many points have the same time.
        texts = {time: rfc3339(time) for time in {row[0] for row in rows}}
        # Takes a third of the time of `*rest`.
        return [UsagePointView(texts[at], *dimensions) for at, *dimensions in rows]

    async def busiest(
        self, *, width_s: int, since: float, until: float, limit: int
    ) -> list[tuple[str, int]]:
        """Return the keys with the most requests in the buckets from `since` to `until`, and their
        numbers of requests.
        """
        where = Conditions()
        where.add_equal(width_s=width_s)
        where.add_range("starts_at", since, until)
        where.add("key_id <> '' AND code <> {}", AGENT)
        statement = (
            f"SELECT key_id, sum(count)::bigint AS count FROM usage_count{where} GROUP BY key_id "
            f"ORDER BY count DESC, key_id LIMIT {where.bind(limit)}"
        )
        return [
            (row["key_id"], row["count"])
            for row in await self._pool.fetch(statement, *where.values)
        ]

    async def limit_use(
        self, *, now: float, percent_min: int, key_id: str | None, limit: int
    ) -> list[LimitUse]:
        """Return the rate limits and credits of which a key has used at least this percentage, the
        most used first. key_id: only those of the family of this key."""
        values = now, percent_min, key_id, limit, self._default_limits
        rows = await self._pool.fetch(_LIMIT_USE, *values)
        return [
            LimitUse(*(*row[:5], rfc3339(row[5]), int(row[6]), int(row[7]), row[8])) for row in rows
        ]

    async def requests(
        self,
        only: FilterRequests,
        *,
        after: tuple[float, int] | None,
        size: int,
        oldest: bool = False,
    ) -> tuple[list[tuple[RecordedRequest, str]], tuple[float, int] | None]:
        """Return up to `size` requests after the position `after`, the newest or the oldest first,
        each with the ID of the current customer of its key, and the position of the last one, or
        None on the last page."""
        where = _requests(only)
        comparison, order = (">", "ASC") if oldest else ("<", "DESC")
        if after is not None:
            time, id = to_datetime(after[0]), after[1]
            where.add(f"(began_at, id) {comparison} ({{}}, {{}})", time, id)
        customer = "(SELECT customer_id FROM api_key WHERE api_key.id = key_id)"
        select = f"SELECT id, {customer} AS customer_id, {_REQUEST.select} FROM gateway_request"
        order = f"began_at {order}, id {order}"
        rows, last = await where.page(self._pool, select, order, size)
        found = [(_REQUEST.read(row), row["customer_id"] or "") for row in rows]
        return found, (found[-1][0].began_at, last["id"]) if last else None

    async def request_totals(self, only: FilterRequests, keys_max: int) -> RequestTotals:
        """Return the numbers of requests, by check and by key."""
        where = _requests(only)
        rows = await self._pool.fetch(
            "SELECT failed_check, key_id, sum(count)::bigint AS count FROM gateway_request"
            f"{where} GROUP BY GROUPING SETS ((failed_check), (key_id)) ORDER BY count DESC, 1, 2",
            *where.values,
        )
        where.add(_OUTCOMES["allowed"])
        statement = _PERCENTILES.format(where, TIMES_MAX)
        percentiles = await self._pool.fetch(statement, *where.values)
        by_part = {part: Percentiles(*map(_ms, values)) for part, *values in percentiles}
        by_check = [(check, count) for check, _, count in rows if check is not None]
        checks = [CheckTotal(check, count) for check, count in by_check if check]
        keys = [KeyTotal(key, count) for _, key, count in rows if key]
        return RequestTotals(
            total=sum(count for _, count in by_check),
            denied=sum(each.count for each in checks),
            checks=checks,
            keys=keys[:keys_max],
            ms=by_part.get("ms"),
            core_ms=by_part.get("core_ms"),
            gateway_ms=by_part.get("gateway_ms"),
        )

    async def prune(self, *, now: float, requests_s: float) -> int:
        """Delete buckets older than RETENTION_S, requests older than `requests_s` or above
        STORED_MAX, and batch numbers of ended workers. Returns the number of deleted rows.
        """
        deleted, instant = 0, to_datetime(now)
        for width_s, retention_s in RETENTION_S.items():
            before = instant - timedelta(seconds=retention_s)
            deleted += await prune(
                self._pool, "usage_count", "starts_at", before=before, width_s=width_s
            )
        before = instant - timedelta(seconds=requests_s)
        deleted += await prune(self._pool, "gateway_request", "began_at", before=before)
        newest = await self._pool.fetchval("SELECT coalesce(max(id), 0) FROM gateway_request")
        deleted += await prune(self._pool, "gateway_request", "id", before=newest - STORED_MAX + 1)
        # A worker that has sent no batch for a day has ended and will not repeat a batch.
        await self._pool.execute(
            "DELETE FROM usage_batch WHERE seen_at < $1", instant - timedelta(days=1)
        )
        return deleted


def _ms(microseconds: int) -> float:
    return microseconds / 1000


def _requests(only: FilterRequests) -> Conditions:
    where = Conditions()
    where.add_equal(
        key_id=only.key,
        core=only.core,
        code=only.code,
        failed_check=only.check,
        method=only.method,
        status=only.status,
        address=only.address,
        request_id=only.request_id,
    )
    if only.outcome is not None:
        where.add(_OUTCOMES[only.outcome])
    if only.path_prefix is not None:
        where.add("starts_with(path, {}::text)", only.path_prefix)
    if only.customer is not None:
        where.add(_OF_CUSTOMER, only.customer)
    where.add_range("began_at", *only.bounds)
    return where
