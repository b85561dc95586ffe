"""Use of keys in PostgreSQL."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import pytest
from gatehouse.core.clock import to_datetime
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import RateLimit
from gatehouse.features.usage import repository, service
from gatehouse.features.usage.models import RecordedRequest, UsageBatch, UsageRow
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.usage.schemas import FilterRequests
from gatehouse.features.usage.service import (
    ALLOWED_MAX,
    ALLOWED_OF_KIND_MAX,
    BATCH_ROWS,
    DENIALS_MAX,
    DENIALS_OF_KIND_MAX,
    UsageCounter,
    UsageFlusher,
)
from gatehouse.platform.db import statements
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.observability import Observer

from tests.runtime.clocks import ManualClock
from tests.runtime.conftest import Database, Rows
from tests.runtime.rows import customer_row, key_row, plan_row

NOON = 1_800_014_400.0  # 2027-01-15 12:00:00 UTC
KEY = "3fGh82kLmQ0a"


class UnreliableRepository(UsageRepository):
    """Loses batches while `unavailable`, and confirmations while `loses_confirmations`."""

    unavailable = loses_confirmations = False

    async def add(self, batch: UsageBatch) -> None:
        if self.unavailable:
            raise Unavailable
        await super().add(batch)
        if self.loses_confirmations:
            raise Unavailable


@dataclass
class Counting:
    counter: UsageCounter
    flusher: UsageFlusher
    repository: UnreliableRepository
    clock: ManualClock
    pool: Pool

    def use(
        self, times: int = 1, *, key: str = KEY, core: str = "docs", code: str = "VALID"
    ) -> None:
        for _ in range(times):
            self.counter.count(key, core, code)

    def deny(self, code: str = "FORBIDDEN", *, key: str = KEY, number: int = 0) -> None:
        self.record(code, "address", 403, key=key, number=number)

    def record(
        self, code: str, check: str, status: int, *, key: str = KEY, number: int = 0
    ) -> None:
        row = RecordedRequest(
            NOON,
            key_id=key,
            core="docs",
            code=code,
            failed_check=check,
            detail="POST" if check else "",
            method="GET",
            path="/cores/docs/a",
            status=status,
            duration_us=1500,
            core_us=None if check else 1000,
            address=f"192.0.2.{number % 256}",
            request_id=f"req_{number}",
        )
        kind = (key, "docs", code, check, status)
        if not self.counter.represent(kind):
            self.counter.record(kind, row)

    async def requests(self, **only: Any) -> list[RecordedRequest]:
        filters = FilterRequests(**only)
        found, position = await self.repository.requests(filters, after=None, size=10_000)
        assert position is None
        return [request for request, _ in found]

    async def flush(self) -> bool:
        try:
            await self.flusher.flush()
        except Unavailable:
            return False
        return True

    async def total(self, width_s: int = 60, **filters: Any) -> list[tuple[float, int]]:
        points = await self.repository.series(
            width_s=width_s, since=0, until=NOON + 10**7, **filters
        )
        return [
            (datetime.fromisoformat(point.at).timestamp() - NOON, point.count) for point in points
        ]


async def last_used(counting: Counting) -> dict[str, float]:
    rows = await counting.pool.fetch("SELECT key_id, last_used_at FROM key_activity")
    return {row["key_id"]: row["last_used_at"].timestamp() for row in rows}


@pytest.fixture
def counting(database: Database, module_pool: Pool) -> Counting:
    tables = "usage_count, usage_batch, key_activity, gateway_request, api_key, key_credit"
    database.sql(f"TRUNCATE {tables} CASCADE")
    clock, counter = ManualClock(NOON), UsageCounter(lambda name: name == "docs")
    unreliable = UnreliableRepository(module_pool)
    metrics = Observer("gateway", "error", "test").metrics
    flusher = UsageFlusher(counter, unreliable, clock, worker_id="w1", metrics=metrics)
    return Counting(counter, flusher, unreliable, clock, module_pool)


async def test_requests_are_counted_by_minute_hour_and_day(counting: Counting) -> None:
    for _ in range(3):
        counting.use(2)
        counting.use(1, code="RATE_LIMITED")
        assert await counting.flush()
        counting.clock.advance(1800)
    # A batch belongs to the minute in which it started.
    assert await counting.total(60) == [(0, 6), (1800, 3)]
    assert await counting.total(3600) == [(0, 9)]
    assert await counting.total(86_400) == [(-43_200, 9)]
    assert sum(count for _, count in await counting.total(3600, code="RATE_LIMITED")) == 3


async def test_second_belongs_to_the_minute_of_its_start(counting: Counting) -> None:
    counting.clock.advance(59.5)
    await counting.flush()
    counting.use(1)
    counting.clock.advance(1)
    await counting.flush()
    counting.use(1)
    counting.clock.advance(1)
    await counting.flush()
    assert await counting.total() == [(0, 1), (60, 1)]


async def test_unwritten_counts_keep_their_minute(counting: Counting) -> None:
    counting.repository.unavailable = True
    counting.use(5)
    assert not await counting.flush()
    counting.clock.advance(120)
    counting.use(2)
    assert not await counting.flush()
    counting.clock.advance(1)
    counting.use(1)
    counting.repository.unavailable = False
    assert await counting.flush()
    assert await counting.flush()
    assert await counting.total() == [(0, 7), (120, 1)]


async def test_repeated_batch_is_counted_once(counting: Counting) -> None:
    counting.use(5)
    counting.repository.loses_confirmations = True
    for _ in range(3):
        assert not await counting.flush()
    counting.repository.loses_confirmations = False
    assert await counting.flush()
    assert await counting.total() == [(0, 5)]


async def test_stop_after_an_outage_loses_nothing(counting: Counting) -> None:
    counting.repository.unavailable = True
    counting.use(5)
    assert not await counting.flush()
    counting.repository.unavailable = False
    counting.use(2)
    await counting.flusher.close()
    assert await counting.total() == [(0, 7)]


async def test_workers_share_buckets(counting: Counting) -> None:
    other = replace(counting.flusher, worker_id="w2")
    counting.use(3)
    await counting.flush()
    counting.use(4)
    await other.flush()
    assert await counting.total() == [(0, 7)]


async def test_unregistered_core_has_no_row(counting: Counting) -> None:
    counting.use(1, core="docs")
    counting.use(1, core="x' OR 1=1")
    await counting.flush()
    points = await counting.repository.series(
        width_s=60, since=0, until=NOON + 60, by=frozenset({"core"})
    )
    assert [(point.core, point.count) for point in points] == [("", 1), ("docs", 1)]


async def test_name_that_a_client_invents_takes_no_memory(counting: Counting) -> None:
    """An outage of the database can last longer than the memory for names of 16 kB."""
    counting.use(2, core="a" * 16_000)
    counting.use(1, core="docs")
    assert {(core, count) for (_, core, _), count in counting.counter.take().items()} == {
        ("", 2),
        ("docs", 1),
    }


async def test_denied_request_is_the_last_use(counting: Counting) -> None:
    counting.use(1)
    await counting.flush()
    counting.clock.advance(5)
    counting.use(1, code="EXPIRED")
    await counting.flush()
    assert await last_used(counting) == {KEY: NOON + 5}


async def test_counts_are_deleted_after_their_retention(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "PRUNE_ROWS", 2)
    for number in range(5):
        counting.use(1, code=f"CODE_{number}")
        counting.deny(f"CODE_{number}")
    await counting.flush()
    day = 86_400
    monkeypatch.setattr(repository, "STORED_MAX", 3)
    assert await counting.repository.prune(now=NOON, requests_s=day) == 2
    assert await counting.repository.prune(now=NOON + day, requests_s=day) == 0
    assert await counting.repository.prune(now=NOON + day + 1, requests_s=day) == 3
    for width_s, retention_days in ((60, 2), (3600, 90), (day, 3 * 366)):
        [(after_noon, _)] = await counting.total(width_s)
        end = NOON + after_noon + retention_days * day
        assert await counting.repository.prune(now=end, requests_s=day) == 0
        assert await counting.repository.prune(now=end + 1, requests_s=day) == 5
        assert await counting.total(width_s) == []


async def test_use_after_a_purge_is_counted_for_no_key(
    counting: Counting, database: Database
) -> None:
    await Rows(counting.pool).add_key(KEY)
    counting.deny()
    await counting.flush()
    database.sql(f"SELECT forget_key_use('{KEY}')")
    counting.use(2)
    counting.deny(number=1)
    database.sql(
        "UPDATE api_key SET state = 'purged', purged_at = now(), name = '', notes "  # noqa: S608
        "= '', created_by = '', scopes = '{}', limits = '[]', digest = decode(repeat('00', 32), "
        f"'hex') WHERE id = '{KEY}'"
    )
    await counting.flush()
    counting.deny(number=2)  # a batch without counts
    await counting.flush()
    assert await counting.pool.fetch(
        "SELECT key_id, count FROM usage_count WHERE width_s = 60"
    ) == [("", 2)]
    assert await last_used(counting) == {}
    requests = {(each.key_id, each.request_id) for each in await counting.requests()}
    assert requests == {("", "req_1"), ("", "req_2")}


def test_purge_reads_the_use_of_the_key(database: Database) -> None:
    """PostgreSQL 16 and 17 need a condition on each column of the index (tests/references)."""
    database.sql(
        "INSERT INTO usage_count SELECT 60, 'key' || number, now(), '', 'VALID', 1 "
        "FROM generate_series(1, 10000) AS number; ANALYZE usage_count"
    )
    rows = database.sql(
        "BEGIN; SELECT forget_key_use('key7'); SELECT seq_tup_read + idx_tup_fetch "
        "FROM pg_stat_xact_user_tables WHERE relname = 'usage_count'; ROLLBACK"
    )
    assert rows.split() == ["1"]


async def test_counts_are_written_in_batches(counting: Counting) -> None:
    for number in range(2 * BATCH_ROWS + 1):
        counting.use(key=f"{number:012d}")
    assert await counting.flush()
    assert await counting.total() == [(0, 2 * BATCH_ROWS + 1)]
    assert len(await last_used(counting)) == 2 * BATCH_ROWS + 1
    assert await counting.pool.fetchval("SELECT number FROM usage_batch") == 3


@pytest.mark.bound("usage.service:PENDING_MAX")
async def test_memory_is_bounded_and_every_request_counted(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PENDING_MAX", 10)
    counting.counter.size_max = 10
    counting.repository.unavailable = True
    for keys in (8, 8, 12):
        for number in range(keys):
            counting.use(key=f"{number:012d}", core="")
        assert not await counting.flush()
        counting.clock.advance(60)
    # 8 and 2 keys, and the other requests of the second and the third minute
    assert counting.flusher.pending == 8 + 3 + 1
    counting.repository.unavailable = False
    assert await counting.flush()
    assert await counting.total(60) == [(0, 16), (60, 12)]
    others = "SELECT sum(count) FROM usage_count WHERE width_s = 60 AND key_id = ''"
    assert await counting.pool.fetchval(others) == 6 + 12


@pytest.mark.parametrize(("records", "address"), [(True, "192.0.2.0"), (False, "")])
async def test_addresses_can_be_omitted(counting: Counting, records: bool, address: str) -> None:
    counting.counter.records_addresses = records
    counting.deny()
    await counting.flush()
    counting.record("VALID", "", 200)
    await counting.flush()
    assert [each.address for each in await counting.requests()] == [address] * 2


@pytest.mark.bound("usage.service:DENIALS_MAX")
@pytest.mark.bound("usage.service:DENIALS_OF_KIND_MAX")
@pytest.mark.bound("usage.service:ALLOWED_MAX")
@pytest.mark.bound("usage.service:ALLOWED_OF_KIND_MAX")
async def test_flood_of_requests_is_sampled_and_every_request_counted(counting: Counting) -> None:
    """Also after an outage of the database. Neither outcome takes the rows of the other."""
    counting.repository.unavailable = True
    expected = Counter[str]()
    for _ in range(2):
        for number in range(300):
            for code, key in (
                ("FORBIDDEN", KEY),
                ("RATE_LIMITED", f"{number:012d}"),
                ("NOT_FOUND", ""),
            ):
                counting.deny(code, key=key, number=number)
                expected[code] += 1
            for status, key in ((200, KEY), (500, KEY), (200, f"{number:012d}")):
                counting.record("VALID", "", status, key=key, number=number)
                expected["VALID"] += 1
        assert not await counting.flush()
    counting.repository.unavailable = False
    assert await counting.flush()
    assert await counting.flush()
    found, counts = await counting.requests(), Counter[str]()
    for each in found:
        counts[each.code] += each.count
    assert counts == expected
    denied, allowed = (
        await counting.requests(outcome="denied"),
        await counting.requests(outcome="allowed"),
    )
    assert len([each for each in denied if each.key_id == KEY]) == 2 * DENIALS_OF_KIND_MAX
    assert Counter((each.key_id, each.status) for each in allowed if each.key_id == KEY) == {
        (KEY, status): 2 * ALLOWED_OF_KIND_MAX for status in (200, 500)
    }
    others = [each for each in found if each.request_id == ""]
    assert {(each.code, each.status, each.key_id, each.address, each.path) for each in others} == {
        ("RATE_LIMITED", 403, "", "", ""),
        ("VALID", 200, "", "", ""),
    }
    assert len(denied) == 2 * (DENIALS_MAX + 1)
    assert len(allowed) == 2 * (ALLOWED_MAX + 1)
    totals = await counting.repository.request_totals(FilterRequests(), 5)
    assert totals.total == sum(expected.values())
    assert totals.denied == totals.total - expected["VALID"]


async def test_request_is_stored_as_recorded(counting: Counting) -> None:
    counting.record("VALID", "", 200)
    counting.deny()
    await counting.flush()
    [allowed] = await counting.requests(outcome="allowed", status=200, path_prefix="/cores/docs/")
    expected = {"duration_us": 1500, "core_us": 1000, "method": "GET", "path": "/cores/docs/a"}
    assert {name: getattr(allowed, name) for name in expected} == expected
    [denied] = await counting.requests(outcome="denied", status=403)
    assert (denied.failed_check, denied.detail, denied.core_us) == ("address", "POST", None)


async def test_version_that_still_runs_writes_and_deletes_denied_requests(
    counting: Counting,
) -> None:
    """It has the statements of its own table."""
    columns = "denied_at, key_id, core, code, failed_check, detail, address, request_id, count"
    for number in range(3):
        await counting.pool.execute(
            f"INSERT INTO denial ({columns}) VALUES ($1, '', 'docs', 'NOT_FOUND', 'token', '', "  # noqa: S608
            "'192.0.2.7', 'req_old', 2)",
            to_datetime(NOON + number),
        )
    counting.record("VALID", "", 200)
    await counting.flush()
    [*_, old] = await counting.requests(request_id="req_old")
    assert (old.failed_check, old.status, old.method, old.duration_us) == ("token", 0, "", None)
    before = to_datetime(NOON + 2)
    assert await statements.prune(counting.pool, "denial", "denied_at", before=before) == 2
    assert len(await counting.requests()) == 2


OLD, NEW = "old000000000", "new000000000"
#: Time of the report: 90 seconds after the start of the minute window below.
AT = NOON + 90


@pytest.mark.parametrize(
    ("limit", "counts", "used", "allowed", "percent"),
    [
        # quota, window and cost; counts by the seconds after NOON
        ((100, 60, 1), {0: 119, -60: 500}, 119, 150, 79),
        ((100, 60, 5), {0: 30}, 150, 150, 100),
        ((3600, 3600, 1), {-3600 + 60: 3570, -3600: 500}, 3570, 3630, 98),
        ((86_400, 86_400, 1), {-86_400: 80_000, 60: 10_000, -86_460: 5}, 90_000, 86_490, 104),
        ((7, 604_800, 1), {-7 * 86_400: 4, -8 * 86_400: 9}, 4, 7, 53),
    ],
)
async def test_use_of_a_limit_is_counted_for_its_window(
    counting: Counting,
    limit: tuple[int, int, int],
    counts: dict[int, int],
    used: int,
    allowed: int,
    percent: int,
) -> None:
    quota, window_s, cost = limit
    await add_family(counting, name="l", quota=quota, window_s=window_s, cost=cost)
    for number, (seconds, count) in enumerate(counts.items()):
        rows = [(NEW if number else OLD, "VALID", count), (NEW, "RATE_LIMITED", 7)]
        await add(counting, NOON + seconds, *rows)
    (use,) = await counting.repository.limit_use(now=AT, percent_min=1, key_id=None, limit=9)
    assert (use.key, use.used, use.allowed, use.percent) == (NEW, used, allowed, percent)
    for percent_min, listed in ((percent, 1), (percent + 1, 0)):
        uses = await counting.repository.limit_use(
            now=AT, percent_min=percent_min, key_id=OLD, limit=9
        )
        assert len(uses) == listed


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({}, ["own"]),
        ({"inherits": "'{scopes}'", "plan": "'used'"}, ["own"]),
        ({"inherits": "'{limits}'", "plan": "'used'"}, ["of the plan"]),
        ({"inherits": "'{limits}'", "customer_id": "'follows'"}, ["of the plan"]),
        ({"inherits": "'{limits,scopes}'", "customer_id": "'free'"}, ["default"]),
        ({"inherits": "'{limits}'", "plan": "'empty'"}, ["default"]),
        ({"limits": "'[]'"}, ["default"]),
    ],
)
async def test_use_of_inherited_limits_is_counted(
    counting: Counting, columns: dict[str, str], names: list[str]
) -> None:
    own, of_plan, default = (
        RateLimit(name=name, quota=100, window_s=60, burst=100)
        for name in ("own", "of the plan", "default")
    )
    for row in (
        plan_row("ON CONFLICT DO NOTHING", name="'used'", limits="$1::jsonb"),
        plan_row("ON CONFLICT DO NOTHING", name="'empty'", description="$1"),
    ):
        await counting.pool.execute(row, msgspec.json.encode([of_plan]).decode())
    for customer_id, plan in (("follows", "used"), ("free", None)):
        row = customer_row("ON CONFLICT DO NOTHING", plan="$2")
        await counting.pool.execute(row, customer_id, plan)
    stored = {"limits": "$2::jsonb", **columns}
    values = [msgspec.json.encode([own]).decode()] if "$2" in stored["limits"] else []
    await counting.pool.execute(key_row(**stored, family_id="$1"), NEW, *values)
    await add(counting, NOON, (NEW, "VALID", 90))
    usage = UsageRepository(counting.pool, (default,))
    uses = await usage.limit_use(now=AT, percent_min=1, key_id=None, limit=9)
    assert [(use.name, use.used) for use in uses] == [(name, 90) for name in names]


async def test_limits_that_are_not_used_are_not_listed(counting: Counting) -> None:
    await add_family(counting, name="l", quota=1, window_s=60, cost=1)
    await add(counting, NOON - 300, (NEW, "VALID", 50))
    find = partial(counting.repository.limit_use, now=AT, percent_min=0, limit=9)
    assert await find(key_id=None) == []
    assert [use.used for use in await find(key_id=NEW)] == [0]
    await add(counting, NOON, (NEW, "VALID", 50))
    assert len(await find(key_id=None)) == 1
    for change in ("state = 'disabled'", "state = 'active', expires_at = to_timestamp(1)"):
        await counting.pool.execute(f"UPDATE api_key SET {change}")  # noqa: S608
        assert await find(key_id=None) == []


@pytest.mark.parametrize(
    ("refilled_at", "refill", "used"),
    [
        (NOON - 43_200, (100, "day"), [90]),
        (NOON - 43_201, (100, "day"), [0]),  # the next use refills the credits
        (NOON, (5, "day"), [0]),  # more remain than a refill adds
        (NOON, (None, None), []),
    ],
)
async def test_use_of_credits_since_the_refill(
    counting: Counting, refilled_at: float, refill: tuple[int | None, str | None], used: list[int]
) -> None:
    await add_family(counting)
    await add(counting, NOON, (NEW, "VALID", 1))
    await counting.pool.execute(
        "INSERT INTO key_credit VALUES ($1, 10, $2, $3, $4)", OLD, *refill, to_datetime(refilled_at)
    )
    uses = await counting.repository.limit_use(now=AT, percent_min=0, key_id=None, limit=9)
    assert [(use.kind, use.used) for use in uses] == [("credits", number) for number in used]


async def add_family(counting: Counting, **limit: object) -> None:
    """Adds a key with this limit, or with none, that was rotated once."""
    columns = {"limits": "$2::jsonb", "family_id": "$3", "has_credits": "true"}
    limits = json.dumps([limit] if limit else [])
    for key_id, successor in ((OLD, f"'{NEW}'"), (NEW, "NULL")):
        row = key_row(**columns, successor_id=successor)
        await counting.pool.execute(row, key_id, limits, OLD)


async def add(counting: Counting, at: float, *rows: tuple[str, str, int]) -> None:
    """Adds a batch with rows (key, code, count)."""
    minute = int(at)
    await counting.repository.add(
        UsageBatch(
            f"w{at}", 1, at, tuple(UsageRow(key, "", code, minute, n) for key, code, n in rows)
        )
    )
