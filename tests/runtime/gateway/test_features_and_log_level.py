"""Log level, disabled features and slow statements of a running gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from gatehouse.db.pool import pool_of
from gatehouse.observability import Metrics, Observer
from gatehouse.settings import load

from tests.runtime.gateway.conftest import gateway_environment
from tests.runtime.gateway.test_process import at


class Lines(list[dict[str, Any]]):
    def info(self, event: str, **fields: Any) -> None:
        self.append({"event": event, **fields})

    warning = error = info


@pytest.mark.requirement("TR-14")
async def test_log_level_change_reaches_every_worker(gateway: Any, start: Any, database: Any, redis_url: str) -> None:
    _, _, log = start(database.app_url, redis_url, GATEHOUSE_WORKERS="2", GATEHOUSE_LOG_LEVEL="error")
    database.sql("INSERT INTO log_level (level, until, set_by) VALUES ('info', now() + interval '1 minute', 'test')")
    try:
        async with asyncio.timeout(30):
            while len(_levels(log)) < 2:
                await asyncio.sleep(0.1)
    finally:
        database.sql("DELETE FROM log_level")
    assert _levels(log) == ["info", "info"]


def _levels(log: Path) -> list[str]:
    return [json.loads(line)["level_now"] for line in log.read_text().splitlines() if '"log level"' in line]


@pytest.mark.requirement("TR-02")
async def test_disabled_features_are_not_served(gateway: Any, start: Any, database: Any, redis_url: str) -> None:
    off = "proxy=off,batch-verify=off,header-verify=off,self-revocation=off"
    _, port, _ = start(database.app_url, redis_url, GATEHOUSE_FEATURES=off)
    here = at(gateway, port)
    for method, path in (("POST", "/v1/keys/verify-batch"), ("POST", "/v1/keys/revoke-self"), ("GET", "/cores/docs/a")):
        assert (await here.ask(method, path)).status == 404
    assert (await here.ask("PUT", "/v1/cores/docs")).status == 404
    assert (await here.ask("GET", "/v1/keys/verify")).status == 405
    key = await here.mint()
    assert (await here.verify(key.token)).json["valid"]
    assert (await here.ask("GET", "/readyz")).json["features_off"] == [
        "batch-verify",
        "header-verify",
        "proxy",
        "self-revocation",
    ]


@pytest.mark.requirement("TR-01")
async def test_slow_statement_is_logged_after_release(database: Any, redis_url: str) -> None:
    environment = gateway_environment(
        database.app_url, redis_url, 1, GATEHOUSE_SLOW_QUERY_THRESHOLD_MS="20", GATEHOUSE_DATABASE_POOL_SIZE="1"
    )
    lines = Lines()
    settings = load(environment)
    pool = pool_of(settings, "tests", Observer("gateway", lines, Metrics()).slow_query)  # type: ignore[arg-type]
    for _ in range(2):
        await pool.fetchval("SELECT pg_sleep(0.05), $1::text", "canary-value")
    await pool.fetchval("SELECT 1")
    await pool.close()
    assert [line["statement"] for line in lines] == ["SELECT pg_sleep(0.05), $1::text"] * 2
    assert "canary-value" not in str(lines)
