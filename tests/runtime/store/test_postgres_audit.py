"""The audit trail in PostgreSQL: one chain whoever appends, and a walk along it that finds what was done behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import PostgresAuditTrail
from gatehouse.audit.writer import append_event
from gatehouse.db import engine as postgres_engine

from tests.runtime.conftest import Database


@pytest.fixture
async def trail(database: Database) -> AsyncIterator[PostgresAuditTrail]:
    database.sql("TRUNCATE audit_event")
    engine = postgres_engine.build(database.app, pool_max=8, application="tests")
    yield PostgresAuditTrail(engine)
    await engine.dispose()


def event(number: int) -> AuditEvent:
    return AuditEvent(
        occurred_at=1_800_000_000.123456 + number,
        actor_type="bootstrap",
        actor_id="bootstrap",
        action="key.create",
        target_type="key",
        target_id=f"{number:012d}",
        outcome="success",
        request_id="req_1",
        source_address="192.0.2.1",
        details={"text": "ünïcode \U0001f511", "whole": 2.0, "part": 0.1, "none": None, "list": ["b", "a"], "yes": True},
    )


async def fill(trail: PostgresAuditTrail, rows: int = 6) -> None:
    for number in range(rows):
        await trail.append(event(number))


async def test_what_was_stored_still_has_the_hash_that_it_was_stored_with(trail: PostgresAuditTrail) -> None:
    await fill(trail)
    assert await trail.verify() == (6, None)


async def test_many_writers_at_once_make_one_chain_without_gaps(trail: PostgresAuditTrail) -> None:
    await asyncio.gather(*(trail.append(event(number)) for number in range(24)))
    assert await trail.verify() == (24, None)


async def test_the_gateway_and_the_console_append_to_the_same_chain(trail: PostgresAuditTrail, database: Database) -> None:
    await trail.append(event(0))
    connection = await asyncpg.connect(**database.app.arguments())
    async with connection.transaction():
        assert await append_event(connection, event(1)) == 2
    await connection.close()
    await trail.append(event(2))
    assert await trail.verify() == (3, None)


@pytest.mark.requirement("TR-11")
@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit_event SET actor_id = 'somebody' WHERE seq = 3", 3),
        ("UPDATE audit_event SET details = details || '{\"yes\": false}' WHERE seq = 3", 3),
        ("UPDATE audit_event SET details = details - 'none' WHERE seq = 3", 3),
        ("UPDATE audit_event SET occurred_at = occurred_at + interval '1 microsecond' WHERE seq = 3", 3),
        ("UPDATE audit_event SET hash = decode(repeat('00', 32), 'hex') WHERE seq = 3", 3),
        ("DELETE FROM audit_event WHERE seq = 1", 2),
        ("DELETE FROM audit_event WHERE seq = 3", 4),
        ("DELETE FROM audit_event WHERE seq = 3; UPDATE audit_event SET seq = seq - 1 WHERE seq > 3", 3),
        (
            "UPDATE audit_event SET seq = 99 WHERE seq = 3; UPDATE audit_event SET seq = 3 WHERE seq = 4;"
            "UPDATE audit_event SET seq = 4 WHERE seq = 99",
            3,
        ),
    ],
)
async def test_an_edit_a_gap_or_a_reorder_is_found_at_its_row(
    trail: PostgresAuditTrail, database: Database, statement: str, broken: int
) -> None:
    await fill(trail)
    database.sql(statement)
    assert (await trail.verify())[1] == broken


async def test_pages_go_back_in_time_and_end(trail: PostgresAuditTrail) -> None:
    await fill(trail)
    first = await trail.page(before=None, size=4, target_id=None, action=None)
    second = await trail.page(before=first.next_before, size=4, target_id=None, action=None)
    assert [row.seq for row in first.events + second.events] == [6, 5, 4, 3, 2, 1]
    assert second.next_before is None


async def test_a_row_reads_back_as_it_was_written(trail: PostgresAuditTrail) -> None:
    await trail.append(event(7))
    page = await trail.page(before=None, size=1, target_id=None, action=None)
    assert page.events[0].event == event(7)
