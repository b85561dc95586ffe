"""Reading the counts of use for charts, and taking old ones away; writing them is the gateway workers' part."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Table, Text, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.audit.chain import as_datetime, as_seconds
from gatehouse.db.engine import connected, transaction
from gatehouse.usage.models import KEPT_S, POINTS_MAX, UsagePoint

_metadata = MetaData()


_usage = Table(
    "usage_count",
    _metadata,
    Column("width_s", Integer, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("starts_at", DateTime(timezone=True), primary_key=True),
    Column("core", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("count", BigInteger),
)


_activity = Table(
    "key_activity", _metadata, Column("key_id", Text, primary_key=True), Column("last_used_at", DateTime(timezone=True))
)


_address = Table(
    "key_address",
    _metadata,
    Column("key_id", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("first_seen_at", DateTime(timezone=True)),
)


_flush = Table("usage_flush", _metadata, Column("worker_id", Text, primary_key=True), Column("seen_at", DateTime(timezone=True)))


class PostgresUsageReports:
    """`ports_usage.UsageReports` on the console's engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def series(
        self,
        *,
        width_s: int,
        since: float,
        until: float,
        by: frozenset[str],
        key_id: str | None,
        core: str | None,
        code: str | None,
    ) -> tuple[UsagePoint, ...]:
        """From `since` (with it) to `until` (without). At most POINTS_MAX + 1, so that the caller can tell of too many."""
        columns = [_usage.c[name] for name in sorted(by)]
        query = (
            select(_usage.c.starts_at, *columns, func.sum(_usage.c.count).label("total"))
            .where(_usage.c.width_s == width_s, _usage.c.starts_at >= as_datetime(since), _usage.c.starts_at < as_datetime(until))
            .group_by(_usage.c.starts_at, *columns)
            .order_by(_usage.c.starts_at, *columns)
            .limit(POINTS_MAX + 1)
        )
        for column, wanted in ((_usage.c.key_id, key_id), (_usage.c.core, core), (_usage.c.code, code)):
            if wanted is not None:
                query = query.where(column == wanted)
        async with connected(self._engine) as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(
            UsagePoint(
                starts_at=as_seconds(row["starts_at"]),
                key_id=row["key_id"] if "key_id" in by else None,
                core=row["core"] if "core" in by else None,
                code=row["code"] if "code" in by else None,
                count=int(row["total"]),
            )
            for row in rows
        )

    async def last_used(self, key_ids: tuple[str, ...]) -> dict[str, float]:
        query = select(_activity.c.key_id, _activity.c.last_used_at).where(_activity.c.key_id.in_(key_ids))
        async with connected(self._engine) as connection:
            return {row.key_id: as_seconds(row.last_used_at) for row in await connection.execute(query)}

    async def addresses(self, key_id: str) -> tuple[str, ...]:
        query = select(_address.c.address).where(_address.c.key_id == key_id)
        async with connected(self._engine) as connection:
            found = await connection.execute(query.order_by(_address.c.first_seen_at.desc(), _address.c.address))
            return tuple(found.scalars())

    async def prune(self, *, now: float) -> int:
        at = as_datetime(now)
        old = [
            (_usage.c.width_s == width) & (_usage.c.starts_at < at - timedelta(seconds=kept)) for width, kept in KEPT_S.items()
        ]
        async with transaction(self._engine) as connection:
            gone = await connection.execute(delete(_usage).where(or_(*old)))
            # A worker that has been silent for a day has ended: its batches will not be sent again.
            await connection.execute(delete(_flush).where(_flush.c.seen_at < at - timedelta(days=1)))
        return gone.rowcount
