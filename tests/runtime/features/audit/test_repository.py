"""Audit trail in PostgreSQL."""

import asyncio
import contextlib

import msgspec
import pytest
from gatehouse.core.audit_events import AuditEvent, Details
from gatehouse.core.errors import Unavailable
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.schemas import SearchAudit
from gatehouse.platform.audit_log import COLUMNS, append
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.web.fields import PAGE_SIZE_MAX
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.runtime.conftest import Database, opened

_CASES = cases(__file__)

#: Characters that PostgreSQL can store.
_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")


@pytest.fixture
def trail(database: Database, module_pool: Pool) -> AuditRepository:
    database.sql("TRUNCATE audit_event")
    return AuditRepository(module_pool)


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
        details={
            "text": "ünïcode \U0001f511",
            "whole": 2.0,
            "part": 0.1,
            "none": None,
            "list": ["b", "a"],
            "yes": True,
        },
    )


async def fill(trail: AuditRepository, rows: int = 6) -> None:
    for number in range(rows):
        await trail.append(event(number))


async def verify(trail: AuditRepository) -> tuple[int, int | None]:
    """Number of rows before the first row that breaks the chain, and its sequence number."""
    checked = await trail.uncheckpointed(None)
    return checked.rows, checked.broken


async def test_concurrent_writers_append_without_gaps(trail: AuditRepository) -> None:
    await asyncio.gather(*(trail.append(event(number)) for number in range(24)))
    assert await verify(trail) == (24, None)


async def test_rolled_back_event_leaves_no_gap(module_pool: Pool, trail: AuditRepository) -> None:
    async def append_and_fail() -> None:
        async with module_pool.transaction() as connection:
            assert await append(connection, event(0)) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await append_and_fail()
    await trail.append(event(1))
    assert await verify(trail) == (1, None)


@pytest.mark.parametrize(
    ("statement", "broken"), _CASES["edit_gap_or_reordering_is_found_at_its_row"]
)
async def test_edit_gap_or_reordering_is_found_at_its_row(
    trail: AuditRepository, database: Database, statement: str, broken: int
) -> None:
    await fill(trail)
    database.sql(statement)
    assert (await verify(trail))[1] == broken


@given(
    details=st.dictionaries(
        st.text(_CHARACTERS, max_size=5),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(10**18), 10**18),
            st.floats(-1e14, 1e14).filter(lambda value: value == 0 or abs(value) > 1e-200),
            st.text(_CHARACTERS),
            st.lists(st.text(_CHARACTERS), max_size=3),
        ),
        max_size=4,
    )
)
def test_database_calculates_the_hash_that_an_offline_verification_calculates(
    database: Database, details: Details
) -> None:
    async def append_and_verify() -> tuple[int, int | None]:
        async with opened(database.app) as pool:
            trail = AuditRepository(pool)
            await trail.append(msgspec.structs.replace(event(0), details=details))
            return await verify(trail)

    database.sql("TRUNCATE audit_event")
    assert asyncio.run(append_and_verify()) == (1, None)


@pytest.mark.parametrize(
    ("occurred_at", "details"),
    _CASES["process_with_the_rights_of_the_application_cannot_break_the_chain"],
)
async def test_process_with_the_rights_of_the_application_cannot_break_the_chain(
    trail: AuditRepository, module_pool: Pool, occurred_at: str, details: str
) -> None:
    await fill(trail, 2)
    values = COLUMNS.replace("details", "$1::jsonb")
    values = values.replace("occurred_at", "$2::text::timestamptz")
    with contextlib.suppress(Unavailable):
        async with module_pool.transaction() as connection:
            await connection.execute(
                "CREATE TEMPORARY TABLE audit_event ON COMMIT DROP AS SELECT * FROM audit_event"
            )
            await connection.execute("UPDATE pg_temp.audit_event SET seq = seq + 1000000")
            await connection.execute(
                f"INSERT INTO public.audit_event ({COLUMNS}) SELECT {values} FROM audit_event "  # noqa: S608
                "LIMIT 1",
                details,
                occurred_at,
            )
    await trail.append(event(7))
    rows, broken = await verify(trail)
    assert (rows in (3, 4), broken) == (True, None)


@pytest.mark.parametrize("oldest", [False, True])
async def test_pages_are_in_order_and_end(trail: AuditRepository, oldest: bool) -> None:
    await fill(trail)
    first, last = await trail.page(after=None, size=4, oldest=oldest)
    second, end = await trail.page(after=last, size=4, oldest=oldest)
    assert [row.seq for row in first + second] == sorted(range(1, 7), reverse=not oldest)
    assert end is None


async def test_largest_page_has_a_next_page(trail: AuditRepository) -> None:
    await fill(trail, PAGE_SIZE_MAX + 1)
    rows, next_before = await trail.page(after=None, size=PAGE_SIZE_MAX)
    assert (len(rows), next_before) == (PAGE_SIZE_MAX, rows[-1].seq)


async def test_event_is_read_as_it_was_written(trail: AuditRepository) -> None:
    await trail.append(event(7))
    rows, _ = await trail.page(after=None, size=1)
    assert rows[0].event == event(7)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (SearchAudit(target_id="000000000002"), [3]),
        (SearchAudit(action="key.create"), [6, 5, 4, 3, 2, 1]),
        (SearchAudit(action="key.*"), [6, 5, 4, 3, 2, 1]),
        (SearchAudit(action="key.%"), []),
        (SearchAudit(action="k%*"), []),
        (SearchAudit(actor_id="' OR true --"), []),
        (SearchAudit(since="2027-01-15T08:00:02Z", until="2027-01-15T08:00:04Z"), [4, 3]),
        (SearchAudit(outcome="denied"), []),
    ],
)
async def test_filters_select_rows(
    trail: AuditRepository, only: SearchAudit, expected: list[int]
) -> None:
    await fill(trail)
    assert [row.seq for row in (await trail.page(after=None, size=10, only=only))[0]] == expected
    assert await trail.count(only, 500) == len(expected)
    oldest, _ = await trail.page(after=None, size=10, only=only, oldest=True)
    assert [row.seq for row in oldest] == expected[::-1]
