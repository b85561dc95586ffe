"""Usage counts of a gateway process."""

import asyncio
import json
import signal
from typing import Any

from tests.runtime.services.gateway.conftest import Gateway, limit


async def written(gateway: Gateway, key_id: str) -> int:
    count = await gateway.pool.fetchval(
        "SELECT coalesce(sum(count), 0) FROM usage_count WHERE key_id = $1 AND width_s = 60", key_id
    )
    return int(count)


async def until_written(gateway: Gateway, key_id: str, count: int) -> None:
    async with asyncio.timeout(60):
        while await written(gateway, key_id) < count:
            await asyncio.sleep(0.02)


async def test_every_use_is_counted_by_core_and_code(gateway: Gateway, core: Any) -> None:
    await gateway.register(core.url, "counted")
    key = await gateway.create_key(limits=[limit(4)])
    header = key.header
    await gateway.verify(key.token)
    await gateway.get("/v1/keys/verify?core=counted", header)
    await gateway.get("/cores/counted/x", header)
    await gateway.get("/cores/made-up/x", header)
    await gateway.get("/cores/counted/x", header)
    await until_written(gateway, key.id, 5)
    rows = await gateway.pool.fetch(
        "SELECT core, code, sum(count)::int AS count FROM usage_count WHERE key_id = $1 AND "
        "width_s = 86400 GROUP BY core, code",
        key.id,
    )
    assert {(row["core"], row["code"]): row["count"] for row in rows} == {
        ("", "VALID"): 2,
        ("counted", "VALID"): 2,
        ("counted", "RATE_LIMITED"): 1,
    }
    used = await gateway.pool.fetchval(
        "SELECT last_used_at > now() - interval '1 minute' FROM key_activity WHERE key_id = $1",
        key.id,
    )
    assert used


async def test_stopped_gateway_loses_no_count(gateway: Gateway, another: Any) -> None:
    client = another()
    key = await client.create_key()
    for _ in range(4):
        await asyncio.gather(*(client.verify(key.token) for _ in range(25)))
    client.child.stop(signal.SIGTERM)
    assert await written(gateway, key.id) == 100


async def test_usage_lines_ignore_log_level(another: Any) -> None:
    expected = {"GATEHOUSE_LOG_LEVEL": "error", "GATEHOUSE_METRICS_NAMESPACE": "Gatehouse/test"}
    client = another(**expected)
    key = await client.create_key()
    await asyncio.gather(
        *(client.verify(key.token) for _ in range(20)),
        *(client.verify("nonsense") for _ in range(5)),
    )
    client.child.stop(signal.SIGTERM)
    lines = [json.loads(line) for line in client.log.read_text().splitlines()]
    counts = {line["Code"]: line["KeyDecisions"] for line in lines if "Code" in line}
    assert counts == {"VALID": 20, "NOT_FOUND": 5}
    metrics = next(line["_aws"] for line in lines if "_aws" in line)
    assert metrics["CloudWatchMetrics"][0]["Namespace"] == "Gatehouse/test"
    assert key.token not in client.log.read_text()


async def test_failed_core_is_no_failure_of_the_gateway(
    another: Any, core: Any, closed_port: int
) -> None:
    client = another(GATEHOUSE_METRICS_NAMESPACE="Gatehouse/test")
    await client.register(core.url, "failing")
    await client.register(f"http://127.0.0.1:{closed_port}", "down")
    key = await client.create_key()
    header = key.header
    statuses = [
        (await client.get(path, header)).status
        for path in ("/cores/failing/status/500", "/cores/down/x", "/v1/keys/verify")
    ]
    assert statuses == [500, 502, 200]
    client.child.stop(signal.SIGTERM)
    lines = [json.loads(line) for line in client.log.read_text().splitlines()]
    counts = [line for line in lines if "Requests" in line]
    assert sum(line["Requests"] for line in counts) >= 3
    assert sum(line["FailedRequests"] + line["SlowRequests"] for line in counts) == 0
