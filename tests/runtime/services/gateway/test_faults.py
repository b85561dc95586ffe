"""Losing a dependency is one notification. The faults are made on processes; the alarms of prod are
evaluated over what the gateway then publishes, as if it went on for ten minutes.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from valkey import Valkey

from sandbox.local import servers
from tests.components.monitoring.alarm_evaluation import notified
from tests.runtime.platform.tracing.collector import running_collector
from tests.runtime.server_processes import own_server, postgres_pids, redis_pid, suspended
from tests.runtime.services.gateway.conftest import (
    SERVE,
    Gateway,
    log_lines,
    running_gateway,
    trace_settings,
)

__all__ = ["own_server"]

#: Publishes more often, so that the tests wait less.
FREQUENT = f"""from gatehouse.services import tracing
from gatehouse.services.gateway import app
tracing.PUBLISH_S = app.PUBLISH_S = 0.1
{SERVE}"""
AGES = ("AnnouncementsAgeSeconds", "DatabaseAgeSeconds", "StalenessSeconds")
"""Published by each worker, also while nothing is wrong."""
LOST_S = 5


@dataclass
class Setup:
    """A gateway with servers of its own."""

    server: servers.Postgres
    redis_url: str
    gateway: Gateway

    def published(self, name: str) -> list[float]:
        return [line[name] for line in log_lines(self.gateway.log) if name in line]

    async def notified(self, name: str) -> set[tuple[str, str]]:
        """Alarm and severity of what an age that goes on growing notifies."""
        async with asyncio.timeout(60):
            while self.published(name)[-1] < LOST_S:
                await asyncio.sleep(0.05)
        last = {each: self.published(each)[-1] for each in AGES}
        ages = {each: [1.0] * 10 + [last[each]] * 10 for each in AGES}
        ages[name] = [1.0] * 10 + [last[name] + 60 * minute for minute in range(10)]
        return notified(ages)


@pytest.fixture
async def setup(own_server: servers.Postgres, tmp_path: Path) -> AsyncIterator[Setup]:
    server = own_server
    with servers.redis() as redis_url, running_collector() as traces:
        settings = {"GATEHOUSE_METRICS_NAMESPACE": "Gatehouse/prod", **trace_settings(traces)}
        with running_gateway(server, redis_url, tmp_path, FREQUENT, **settings) as (
            port,
            pid,
            log,
            _,
        ):
            async with asyncpg.create_pool(server.app_url, min_size=0, max_size=2) as pool:
                setup = Setup(server, redis_url, Gateway(port, pid, pool, log))
                async with asyncio.timeout(60):
                    while not all(setup.published(name) for name in AGES):
                        await asyncio.sleep(0.05)
                yield setup


@pytest.mark.alarm_triggered("cache-unavailable")
async def test_stopped_cache_is_one_ticket(setup: Setup) -> None:
    assert max(setup.published("AnnouncementsAgeSeconds")) < LOST_S
    with suspended(redis_pid(setup.redis_url)):
        assert await setup.notified("AnnouncementsAgeSeconds") == {("cache-unavailable", "tickets")}


@pytest.mark.alarm_triggered("cache-unavailable")
async def test_broken_login_to_the_cache_is_one_ticket(setup: Setup) -> None:
    with Valkey.from_url(servers.administrator(setup.redis_url)) as client:
        client.execute_command("ACL", "SETUSER", servers.CACHE_USER, "resetpass", ">another")
        client.execute_command("CLIENT", "KILL", "USER", servers.CACHE_USER)
    assert await setup.notified("AnnouncementsAgeSeconds") == {("cache-unavailable", "tickets")}


@pytest.mark.alarm_triggered("database-unavailable")
async def test_stopped_database_is_one_page(setup: Setup) -> None:
    with suspended(*postgres_pids(setup.server)):
        assert await setup.notified("DatabaseAgeSeconds") == {("database-unavailable", "pages")}


@pytest.mark.alarm_triggered("database-unavailable")
async def test_broken_login_to_the_database_is_one_page(setup: Setup) -> None:
    setup.server.sql(
        "ALTER ROLE gatehouse_app NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE usename = 'gatehouse_app';"
    )
    assert await setup.notified("DatabaseAgeSeconds") == {("database-unavailable", "pages")}
    setup.server.sql("ALTER ROLE gatehouse_app LOGIN;")


@pytest.mark.alarm_triggered("*-traces-lost")
async def test_dead_collector_is_one_ticket(tmp_path: Path, setup: Setup) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with running_collector() as traces:
        settings = {"GATEHOUSE_METRICS_NAMESPACE": "Gatehouse/prod", **trace_settings(traces)}
    with running_gateway(setup.server, setup.redis_url, folder, FREQUENT, **settings) as (
        port,
        pid,
        log,
        _,
    ):
        other = Setup(setup.server, setup.redis_url, Gateway(port, pid, setup.gateway.pool, log))
        async with asyncio.timeout(60):
            while not sum(other.published("SpansLost")):
                await asyncio.gather(*(other.gateway.verify("nonsense") for _ in range(20)))
        lost = sum(other.published("SpansLost"))
    assert sum(setup.published("SpansLost")) == 0
    assert notified({"SpansLost": [0.0] * 10 + [lost] * 20}, service="gateway") == {
        ("gateway-traces-lost", "tickets")
    }
