"""Health checks of one worker, without a gateway process."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from gatehouse.core.cores import CoreRecord
from gatehouse.core.token import Pepper
from gatehouse.features.cores import health_checks
from gatehouse.features.cores.credentials import Credentials
from gatehouse.features.cores.health_checks import HealthChecks
from gatehouse.features.cores.repository import CoreRegistry, CoreRepository, HealthCheckRepository
from gatehouse.platform.aws.secrets_manager import SecretsManager
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.http_client.upstream import SystemResolver, UpstreamClients

from tests.runtime.conftest import Rows
from tests.runtime.console_client import LOOPBACK
from tests.runtime.rows import core_row
from tests.runtime.waiting import until

pytestmark = pytest.mark.requirement("CG-11")


class Reservations(HealthCheckRepository):
    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.sizes: list[int] = []

    async def reserve(
        self, running: Mapping[str, int], *, interval_s: float, size: int
    ) -> list[tuple[str, str]]:
        reserved = await super().reserve(running, interval_s=interval_s, size=size)
        self.sizes.append(len(reserved))
        return reserved


@dataclass(frozen=True)
class Checked:
    checks: HealthChecks
    reservations: Reservations
    changes: list[CoreRecord]


@asynccontextmanager
async def checked(rows: Rows, port: int, instances: int) -> AsyncIterator[Checked]:
    await rows.pool.execute("DELETE FROM core")
    key_id = f"agent{port:07d}"
    await rows.add_key(key_id)
    for number in range(instances):
        await rows.pool.execute(
            core_row(
                instance_id="$2",
                url="$3",
                settings="""'{"health_path": "/health"}'""",
                expires_at="now() + interval '1 hour'",
            ),
            key_id,
            str(number),
            f"http://127.0.0.1:{port}",
        )
    cores, changes = CoreRegistry(rows.pool), list[CoreRecord]()
    registered, _ = await CoreRepository(rows.pool).page(after=None, size=instances)
    for record in registered:
        cores.change(record)
    unused = Credentials(SecretsManager(), "", time.monotonic, lambda core, reason: None)
    upstreams, reservations = UpstreamClients(SystemResolver(), LOOPBACK), Reservations(rows.pool)
    checks = HealthChecks(
        cores, reservations, upstreams, Pepper({1: bytes(32)}, 1), unused, 3600, changes.append
    )
    async with asyncio.timeout(60):
        yield Checked(checks, reservations, changes)
    await upstreams.close()


@pytest.fixture(autouse=True)
def unhealthy_after_one_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "FAILURES", 1)


@pytest.mark.bound("cores.health_checks:TIMEOUT_S")
async def test_silent_instance_is_unhealthy(
    rows: Rows, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_checks, "TIMEOUT_S", 0.1)
    async with checked(rows, silent_port, instances=1) as started:
        await started.checks.run_once()
    assert [(core.instance_id, core.healthy) for core in started.changes] == [("0", False)]


async def test_instance_with_settings_of_a_later_version_is_not_checked(
    rows: Rows, closed_port: int
) -> None:
    async with checked(rows, closed_port, instances=2) as started:
        later = """UPDATE core SET settings = settings || '{"error_format": "future"}' """
        await rows.pool.execute(f"{later} WHERE instance_id = '0'")
        records, _ = await CoreRepository(rows.pool).page(after=None, size=2)
        for record in records:
            started.checks.cores.change(record)
        await started.checks.run_once()
    assert (started.reservations.sizes, len(records)) == ([2], 2)
    assert [core.instance_id for core in started.changes] == ["1"]


@pytest.mark.bound("cores.health_checks:BATCH")
async def test_number_of_concurrent_checks_is_bounded(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setattr(health_checks, "BATCH", 2)
    async with checked(rows, closed_port, instances=5) as started:
        await started.checks.run_once()
    assert started.reservations.sizes == [2, 2, 1]
    assert [core.healthy for core in started.changes] == [False] * 5


async def test_instances_of_each_key_are_checked_in_turn(rows: Rows, closed_port: int) -> None:
    async with checked(rows, closed_port, instances=5) as started:
        await rows.add_key("last00000000")
        await rows.pool.execute(
            "UPDATE core SET registered_by = 'last00000000' WHERE instance_id = '4'"
        )
        await rows.pool.execute(
            "INSERT INTO core_health (name, instance_id, lease_id, next_at) SELECT name, "
            "instance_id, lease_id, now() - make_interval(secs => 9 - instance_id::int) FROM core"
        )
        reserved = await started.reservations.reserve({}, interval_s=60, size=2)
    assert {*reserved} == {("docs", "0"), ("docs", "4")}


async def test_slow_instances_do_not_delay_those_of_other_keys(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, silent_port: int, closed_port: int
) -> None:
    monkeypatch.setattr(health_checks, "BATCH", 4)
    monkeypatch.setattr(health_checks, "TIMEOUT_S", 50)
    async with checked(rows, silent_port, instances=16) as started:
        await rows.add_key("other0000000")
        await rows.pool.execute(
            "UPDATE core SET registered_by = 'other0000000', url = $1 WHERE instance_id > '5'",
            f"http://127.0.0.1:{closed_port}",
        )
        records, _ = await CoreRepository(rows.pool).page(after=None, size=16)
        for record in records:
            started.checks.cores.change(record)
        checks = asyncio.create_task(started.checks.run_once())
        await until(lambda: len(started.changes) == 4)
        checks.cancel()
    assert {core.instance_id for core in started.changes} == {"6", "7", "8", "9"}
