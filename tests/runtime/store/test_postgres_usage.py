"""Counts of use in PostgreSQL: added up per minute, hour and day, once each, and what is unusual about them is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from gatehouse.audit.repository import PostgresAuditTrail
from gatehouse.clock import HandClock
from gatehouse.db import engine as postgres_engine
from gatehouse.errors import Unavailable
from gatehouse.usage.models import KEPT_S, UnusualUse, UsageBatch
from gatehouse.usage.reports import PostgresUsageReports
from gatehouse.usage.repository import ADDRESSES_MAX, PostgresUsage
from gatehouse.usage.service import REFUSALS_MARK, UsageCounter, UsageFlusher

from tests.runtime.conftest import Database, Rows

NOON = 1_800_014_400.0  # 2027-01-15 12:00:00 UTC
KEY = "3fGh82kLmQ0a"


@dataclass
class Line:
    """The way to the ledger; `broken` loses batches on the way there, `deaf` loses the confirmation on the way back."""

    ledger: PostgresUsage
    broken: bool = False
    deaf: bool = False

    async def add(self, batch: UsageBatch) -> tuple[UnusualUse, ...]:
        if self.broken:
            raise Unavailable("gone")
        unusual = await self.ledger.add(batch)
        if self.deaf:
            raise Unavailable("no answer")
        return unusual


@dataclass
class Counting:
    counter: UsageCounter
    flusher: UsageFlusher
    line: Line
    clock: HandClock
    reports: PostgresUsageReports
    trail: PostgresAuditTrail
    pool: asyncpg.Pool
    unusual: list[UnusualUse] = field(default_factory=list)

    def use(self, times: int = 1, *, key: str = KEY, core: str = "docs", code: str = "VALID", address: str = "") -> None:
        for _ in range(times):
            self.counter.count(key, core, code, address)

    async def total(self, width_s: int = 60, **wanted: str) -> list[tuple[float, int]]:
        filters: dict[str, Any] = {"key_id": None, "core": None, "code": None, **wanted}
        points = await self.reports.series(width_s=width_s, since=0, until=NOON + 10**7, by=frozenset(), **filters)
        return [(point.starts_at - NOON, point.count) for point in points]


@pytest.fixture
async def counting(database: Database) -> AsyncIterator[Counting]:
    database.sql("TRUNCATE usage_count, usage_flush, key_activity, key_address, key_alert, audit_event")
    engine = postgres_engine.build(database.app, pool_max=2, application="tests")
    clock, counter = HandClock(NOON), UsageCounter()
    async with asyncpg.create_pool(**database.app.arguments(), min_size=1, max_size=2) as pool:
        line = Line(PostgresUsage(pool))
        unusual: list[UnusualUse] = []
        flusher = UsageFlusher(
            counter, line, clock, worker_id="w1", is_core=lambda name: name == "docs", on_unusual=unusual.append
        )
        yield Counting(counter, flusher, line, clock, PostgresUsageReports(engine), PostgresAuditTrail(engine), pool, unusual)
    await engine.dispose()


@pytest.mark.requirement("TR-13")
async def test_requests_are_added_up_by_minute_hour_and_day(counting: Counting) -> None:
    for _ in range(3):
        counting.use(2)
        counting.use(1, code="RATE_LIMITED")
        assert await counting.flusher.flush()
        counting.clock.move(1800)
    assert await counting.total(60) == [(0, 6), (1800, 3)]  # what came between two flushes began with the first of them
    assert await counting.total(3600) == [(0, 9)]
    assert await counting.total(86_400) == [(-43_200, 9)]
    assert sum(count for _, count in await counting.total(3600, code="RATE_LIMITED")) == 3


async def test_a_second_belongs_to_the_minute_in_which_it_began(counting: Counting) -> None:
    counting.clock.move(59.5)
    await counting.flusher.flush()
    counting.use(1)
    counting.clock.move(1)
    await counting.flusher.flush()
    counting.use(1)
    counting.clock.move(1)
    await counting.flusher.flush()
    assert await counting.total() == [(0, 1), (60, 1)]


async def test_what_cannot_be_written_is_kept_with_its_minute(counting: Counting) -> None:
    counting.line.broken = True
    counting.use(5)
    assert not await counting.flusher.flush()
    counting.clock.move(120)
    counting.use(2)
    assert not await counting.flusher.flush()
    counting.clock.move(1)
    counting.use(1)
    assert counting.flusher.waiting == 7
    counting.line.broken = False
    while counting.flusher.waiting:
        assert await counting.flusher.flush()
    assert await counting.total() == [(0, 7), (120, 1)]


async def test_a_batch_whose_confirmation_was_lost_is_not_counted_twice(counting: Counting) -> None:
    counting.use(5)
    counting.line.deaf = True
    for _ in range(3):
        assert not await counting.flusher.flush()
    counting.line.deaf = False
    assert await counting.flusher.flush()
    assert await counting.total() == [(0, 5)]


async def test_workers_add_to_the_same_buckets(counting: Counting) -> None:
    other = UsageFlusher(counting.counter, counting.line, counting.clock, worker_id="w2", is_core=lambda _: True)
    counting.use(3)
    await counting.flusher.flush()
    counting.use(4)
    await other.flush()
    assert await counting.total() == [(0, 7)]


async def test_a_core_that_a_caller_made_up_has_no_row_of_its_own(counting: Counting) -> None:
    counting.use(1, core="docs")
    counting.use(1, core="x' OR 1=1")
    await counting.flusher.flush()
    points = await counting.reports.series(
        width_s=60, since=0, until=NOON + 60, by=frozenset({"core"}), key_id=None, core=None, code=None
    )
    assert [(point.core, point.count) for point in points] == [("", 1), ("docs", 1)]


async def test_the_last_use_of_a_key_is_known_to_the_second_and_refusals_are_no_use(counting: Counting) -> None:
    counting.use(1)
    await counting.flusher.flush()
    counting.clock.move(5)
    counting.use(1, code="EXPIRED")
    await counting.flusher.flush()
    assert await counting.reports.last_used((KEY, "other")) == {KEY: NOON}


async def test_a_key_that_slept_for_a_month_and_wakes_is_told_once(counting: Counting) -> None:
    counting.use(1)
    await counting.flusher.flush()
    counting.clock.move(40 * 86_400)
    for _ in range(2):
        counting.use(1)
        await counting.flusher.flush()
    assert [(one.kind, one.number) for one in counting.unusual] == [("dormant", 40)]


async def test_the_first_address_of_a_key_is_nothing_unusual_and_the_next_one_is(counting: Counting) -> None:
    for address in ("192.0.2.1", "192.0.2.1", "198.51.100.7", "192.0.2.1"):
        counting.use(1, address=address)
        await counting.flusher.flush()
    assert [(one.kind, one.address) for one in counting.unusual] == [("new_address", "198.51.100.7")]
    event = (await counting.trail.page(before=None, size=1, target_id=KEY, action=None)).events[0].event
    assert (event.action, event.source_address, event.details["kind"]) == ("key.unusual", "198.51.100.7", "new_address")


async def test_an_ipv6_network_is_one_address(counting: Counting) -> None:
    for address in ("2001:db8::1", "2001:db8::2"):
        counting.use(1, address=address)
        await counting.flusher.flush()
    assert counting.unusual == []


async def test_the_addresses_that_are_kept_for_a_key_are_bounded(counting: Counting) -> None:
    for number in range(ADDRESSES_MAX + 20):
        counting.use(1, address=f"10.0.{number // 250}.{number % 250}")
        await counting.flusher.flush()
    assert await counting.pool.fetchval("SELECT count(*) FROM key_address") == ADDRESSES_MAX


async def test_a_burst_of_refusals_is_told_once_an_hour(counting: Counting) -> None:
    for _ in range(4):
        counting.use(REFUSALS_MARK // 2, code="RATE_LIMITED")
        await counting.flusher.flush()
    counting.clock.move(60)
    await counting.flusher.flush()
    counting.use(REFUSALS_MARK, code="RATE_LIMITED")
    await counting.flusher.flush()
    assert [(one.kind, one.number) for one in counting.unusual] == [("refusals", REFUSALS_MARK)]
    counting.clock.move(3600)
    await counting.flusher.flush()
    counting.use(REFUSALS_MARK, code="RATE_LIMITED")
    await counting.flusher.flush()
    assert len(counting.unusual) == 2


async def test_old_minutes_are_taken_away_and_days_stay(counting: Counting) -> None:
    counting.use(1)
    await counting.flusher.flush()
    assert await counting.reports.prune(now=NOON + KEPT_S[60] + 60) == 1
    assert (await counting.total(60), len(await counting.total(3600)), len(await counting.total(86_400))) == ([], 1, 1)


@pytest.mark.requirement("CG-08")
async def test_a_key_that_is_deleted_takes_its_use_along(counting: Counting, database: Database, rows: Rows) -> None:
    await rows.add_key(KEY)
    counting.use(1, address="192.0.2.1")
    counting.use(1, key="another00000", address="192.0.2.1")
    await counting.flusher.flush()
    database.sql(f"DELETE FROM api_key WHERE id = '{KEY}'")  # noqa: S608
    assert await counting.reports.last_used((KEY, "another00000")) == {"another00000": NOON}
    assert await counting.pool.fetchval("SELECT count(*) FROM usage_count WHERE key_id = $1", KEY) == 0
    assert await counting.pool.fetchval("SELECT count(*) FROM key_address WHERE key_id = $1", KEY) == 0


@pytest.mark.requirement("CG-08")
async def test_use_that_is_written_after_a_purge_is_counted_for_no_key(
    counting: Counting, database: Database, rows: Rows
) -> None:
    await rows.add_key(KEY)
    counting.use(2, address="192.0.2.1")
    database.sql(
        "UPDATE api_key SET state = 'purged', purged_at = now(), name = '', owner = '', notes = '', created_by = '',"  # noqa: S608
        f" scopes = '{{}}', digest = decode(repeat('00', 32), 'hex') WHERE id = '{KEY}'"
    )
    await counting.flusher.flush()
    assert await counting.pool.fetch("SELECT key_id, count FROM usage_count WHERE width_s = 60") == [("", 2)]
    assert await counting.reports.last_used((KEY,)) == {}
    assert await counting.pool.fetchval("SELECT count(*) FROM key_address") == 0


async def test_memory_is_bounded_and_no_request_goes_uncounted(counting: Counting) -> None:
    for number in range(60_000):
        counting.counter.count(f"{number:012d}", "", "VALID", "")
    assert len(counting.counter) <= 50_001
    await counting.flusher.flush()
    assert await counting.total(60) == [(0, 60_000)]
