"""Refused attempts in the audit trail: seen at once, counted, never a flood."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from gatehouse.audit.repository import PostgresAuditTrail
from gatehouse.audit.service import ADDRESSES_MAX, DeniedAttempts
from gatehouse.clock import HandClock
from gatehouse.db import engine as postgres_engine
from gatehouse.db.connection import login
from gatehouse.http.models import RequestId

from tests.runtime.conftest import Database


@dataclass
class Watched:
    denied: DeniedAttempts
    clock: HandClock
    trail: PostgresAuditTrail

    async def refuse(self, address: str, times: int = 1) -> None:
        for _ in range(times):
            await self.denied.record(address, RequestId("req_1"), "unauthorized")

    async def rows(self) -> list[tuple[str, int]]:
        """(address, attempts), oldest first."""
        page = await self.trail.page(before=None, size=500, target_id="console", action=None)
        found = [(row.event.source_address, row.event.details["attempts"]) for row in reversed(page.events)]
        return [(address, attempts) for address, attempts in found if isinstance(attempts, int)]


@pytest.fixture
async def watched(database: Database) -> AsyncIterator[Watched]:
    database.sql("TRUNCATE audit_event")
    engine = postgres_engine.build(database.app, pool_max=2, application="tests")
    trail, clock = PostgresAuditTrail(engine), HandClock()
    yield Watched(DeniedAttempts(trail, clock, door="console"), clock, trail)
    await engine.dispose()


async def test_the_first_refusal_is_written_at_once(watched: Watched) -> None:
    await watched.refuse("192.0.2.1")
    assert await watched.rows() == [("192.0.2.1", 1)]


async def test_the_others_of_a_minute_become_one_row_when_it_is_over(watched: Watched) -> None:
    await watched.refuse("192.0.2.1", times=40)
    assert await watched.rows() == [("192.0.2.1", 1)]
    watched.clock.move(60)
    await watched.denied.turn()
    assert await watched.rows() == [("192.0.2.1", 1), ("192.0.2.1", 39)]


async def test_a_count_is_not_lost_at_shutdown(watched: Watched) -> None:
    await watched.refuse("192.0.2.1", times=3)
    await watched.denied.flush()
    assert await watched.rows() == [("192.0.2.1", 1), ("192.0.2.1", 2)]


async def test_every_address_has_its_own_count_and_an_ipv6_network_counts_as_one(watched: Watched) -> None:
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "not an address"):
        await watched.refuse(address)
    assert [address for address, _ in await watched.rows()] == [
        "192.0.2.1",
        "192.0.2.2",
        "2001:db8::/64",
        "2001:db8:0:1::/64",
        "unknown",
    ]


async def test_many_addresses_are_no_way_around_the_count(watched: Watched) -> None:
    for number in range(ADDRESSES_MAX + 50):
        await watched.refuse(f"10.0.{number // 250}.{number % 250 + 1}")
    rows = await watched.rows()
    assert (len(rows), rows[-1][0]) == (ADDRESSES_MAX + 1, "others")


async def test_a_refusal_stays_a_refusal_while_the_database_is_away() -> None:
    engine = postgres_engine.build(login("postgresql://nobody@127.0.0.1:1/none", "url"), pool_max=1, application="tests")
    denied = DeniedAttempts(PostgresAuditTrail(engine), HandClock(), door="console")
    await denied.record("192.0.2.1", RequestId("req_1"), "unauthorized")
    await engine.dispose()
