"""Denied attempts in the audit trail."""

from dataclasses import dataclass

import pytest
from gatehouse.core.actor import RequestId
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.schemas import SearchAudit
from gatehouse.features.audit.service import ADDRESSES_MAX, DeniedAttempts
from gatehouse.platform.db.pool import Pool, login

from tests.runtime.clocks import ManualClock
from tests.runtime.conftest import Database, opened


@dataclass
class Recorder:
    denied: DeniedAttempts
    clock: ManualClock
    trail: AuditRepository

    async def deny(self, address: str, times: int = 1) -> None:
        for _ in range(times):
            await self.denied.record(address, RequestId("req_1"), "unauthorized")

    async def rows(self) -> list[tuple[str, int]]:
        rows, _ = await self.trail.page(after=None, size=500, only=SearchAudit(target_id="console"))
        result = [
            (row.event.source_address, row.event.details["attempts"]) for row in reversed(rows)
        ]
        return [(address, attempts) for address, attempts in result if isinstance(attempts, int)]


@pytest.fixture
def recorder(database: Database, module_pool: Pool) -> Recorder:
    database.sql("TRUNCATE audit_event")
    trail, clock = AuditRepository(module_pool), ManualClock()
    return Recorder(DeniedAttempts(trail, clock, service="console"), clock, trail)


async def test_further_denials_of_a_minute_become_one_row(recorder: Recorder) -> None:
    await recorder.deny("192.0.2.1", times=40)
    assert await recorder.rows() == [("192.0.2.1", 1)]
    recorder.clock.advance(60)
    await recorder.denied.run_once()
    assert await recorder.rows() == [("192.0.2.1", 1), ("192.0.2.1", 39)]
    await recorder.deny("192.0.2.1", times=3)
    await recorder.denied.flush()
    assert (await recorder.rows())[2:] == [("192.0.2.1", 1), ("192.0.2.1", 2)]


async def test_ipv6_addresses_are_counted_by_network(recorder: Recorder) -> None:
    for address in (
        "192.0.2.1",
        "192.0.2.2",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8:0:1::1",
        "not an address",
    ):
        await recorder.deny(address)
    assert [address for address, _ in await recorder.rows()] == [
        "192.0.2.1",
        "192.0.2.2",
        "2001:db8::/64",
        "2001:db8:0:1::/64",
        "unknown",
    ]


@pytest.mark.bound("audit.service:ADDRESSES_MAX")
async def test_addresses_beyond_the_limit_share_a_row(recorder: Recorder) -> None:
    for number in range(ADDRESSES_MAX + 50):
        await recorder.deny(f"10.0.{number // 250}.{number % 250 + 1}")
    rows = await recorder.rows()
    assert (len(rows), rows[-1][0]) == (ADDRESSES_MAX + 1, "others")


async def test_record_does_not_raise_without_a_database() -> None:
    async with opened(login("postgresql://nobody@127.0.0.1:1/none", "url")) as pool:
        denied = DeniedAttempts(AuditRepository(pool), ManualClock(), service="console")
        await denied.record("192.0.2.1", RequestId("req_1"), "unauthorized")
