"""Health checks of one worker, without a gateway process."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from gatehouse.cores import health_checks
from gatehouse.cores.health_checks import HealthChecks
from gatehouse.cores.models import CoreName, CoreRecord
from gatehouse.cores.repository import CoreRegistry, CoreRepository, HealthCheckRepository
from gatehouse.cores.upstream import SystemResolver, UpstreamClients
from gatehouse.crypto.token import Pepper

from tests.runtime.conftest import Rows

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.requirement("CG-11")
async def test_silent_instance_is_unhealthy(rows: Rows, silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "TIMEOUT_S", 0.1)
    await rows.add_key("agent0000000")
    await rows.pool.execute(
        "INSERT INTO core (name, instance_id, url, environment, lease_id, registered_by, pepper_generation, health_path,"
        " expires_at) VALUES ('docs', 'a', $1, 'test', 'lease', 'agent0000000', 1, '/health', now() + interval '1 hour')",
        f"http://127.0.0.1:{silent_port}",
    )
    cores = CoreRegistry(rows.pool)
    (record,) = await CoreRepository(rows.pool).instances(CoreName("docs"))
    cores.change(record)
    changes: list[CoreRecord] = []
    upstreams = UpstreamClients(SystemResolver(), LOOPBACK)
    checks = HealthChecks(
        cores, HealthCheckRepository(rows.pool), upstreams, Pepper({1: bytes(32)}, 1), 3600, 1, 1, changes.append
    )
    async with asyncio.timeout(20):
        await checks.run_once()
    assert [(core.instance_id, core.healthy) for core in changes] == [("a", False)]
    await upstreams.close()
