"""Usage counts of a gateway process."""

import asyncio
import json
from typing import Any

import pytest

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
    agent, _ = await gateway.register(core.url, "counted")
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
    assert (
        await gateway.pool.fetchval("SELECT code FROM usage_count WHERE key_id = $1", agent.id)
        == "AGENT"
    )
    used = await gateway.pool.fetchval(
        "SELECT count(*) FROM key_activity WHERE last_used_at > now() - interval '1 minute' "
        "AND key_id = ANY ($1)",
        [key.id, agent.id],
    )
    assert used == 2


async def test_every_denied_request_is_recorded_with_its_check(gateway: Gateway, core: Any) -> None:
    """Of any state of a key, and without a known key. tests/runtime/core/test_decision.py has the
    other checks."""
    await gateway.register(core.url, "denied")
    created = gateway.create_key
    limited = await created(limits=[limit(1)])
    network, method, scope = (
        await created(addresses=["198.51.100.0/24"]),
        await created(methods=["GET"]),
        await created(scopes=["none"]),
    )
    revoked, unknown = await created(), limited.token[:-1] + "?"
    await gateway.revoke(revoked)
    await gateway.get("/cores/denied/x", limited.header)
    valid = await created()
    path, verify = "/cores/denied/x", "/v1/keys/verify?scope=orders:read"
    cases = [
        ("GET", path, (limited.header,), "RATE_LIMITED", "limit", "requests", limited.id),
        ("GET", path, (network.bearer,), "FORBIDDEN", "address", "", network.id),
        ("DELETE", path, (method.bearer,), "FORBIDDEN", "method", "DELETE", method.id),
        ("GET", path, (scope.bearer,), *_SCOPES, "cores:read", scope.id),
        ("GET", verify, (scope.bearer,), *_SCOPES, "orders:read", scope.id),
        ("GET", path, (revoked.bearer,), "REVOKED", "not revoked or deleted", "", revoked.id),
        ("GET", path, (f"X-API-Key: {unknown}",), "NOT_FOUND", "token", "", ""),
        ("GET", path, (), "unauthorized", "credential", "", ""),
        ("GET", path, (limited.header,) * 2, "bad_request", "request", "", ""),
        ("GET", path, _MALFORMED_HANDSHAKE, "bad_request", "request", "", ""),
        ("GET", "/cores/made-up/x", (network.bearer,), "FORBIDDEN", "address", "", network.id),
        ("GET", "/cores/made-up/x", (valid.bearer,), "not_found", "request", "", valid.id),
    ]
    expected = {}
    for verb, target, headers, code, check, detail, key_id in cases:
        reply = await gateway.request(verb, target, *headers)
        assert reply.status in (400, 401, 403, 404, 429), (target, reply.body)
        name = "denied" if target == path else ""
        denied = key_id, name, code, check, detail, "127.0.0.1", 1
        expected[reply.header("x-request-id")] = denied
    async with asyncio.timeout(60):
        while len(rows := await _denials(gateway, list(expected))) < len(expected):
            await asyncio.sleep(0.02)
    assert rows == expected
    assert len(rows) == len(cases)


_SCOPES = "INSUFFICIENT_PERMISSIONS", "scopes"
_MALFORMED_HANDSHAKE = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: short"


async def _denials(gateway: Gateway, request_ids: list[Any]) -> dict[Any, tuple[Any, ...]]:
    rows = await gateway.pool.fetch(
        "SELECT request_id, key_id, core, code, failed_check, detail, address, count FROM denial "
        "WHERE request_id = ANY ($1)",
        request_ids,
    )
    return {request_id: tuple(rest) for request_id, *rest in rows}


async def test_stopped_gateway_loses_no_count(gateway: Gateway, another: Any) -> None:
    client = another()
    key = await client.create_key()
    for _ in range(4):
        await asyncio.gather(*(client.verify(key.token) for _ in range(25)))
    client.child.stop(timeout_s=60)
    assert await written(gateway, key.id) == 100


async def test_usage_lines_ignore_log_level(another: Any) -> None:
    expected = {"GATEHOUSE_LOG_LEVEL": "error", "GATEHOUSE_METRICS_NAMESPACE": "Gatehouse/test"}
    client = another(**expected)
    key = await client.create_key()
    await asyncio.gather(
        *(client.verify(key.token) for _ in range(20)),
        *(client.verify("nonsense") for _ in range(5)),
    )
    client.child.stop(timeout_s=60)
    lines = [json.loads(line) for line in client.log.read_text().splitlines()]
    counts = {line["Code"]: line["KeyDecisions"] for line in lines if "Code" in line}
    assert counts == {"VALID": 20, "NOT_FOUND": 5}
    metrics = next(line["_aws"] for line in lines if "_aws" in line)
    assert metrics["CloudWatchMetrics"][0]["Namespace"] == "Gatehouse/test"
    assert key.token not in client.log.read_text()


@pytest.mark.alarm_triggered("core-errors")
async def test_failed_core_is_no_failure_of_the_gateway(
    another: Any, core: Any, closed_port: int
) -> None:
    client = another(GATEHOUSE_METRICS_NAMESPACE="Gatehouse/test")
    await client.register(core.url, "failing")
    await client.register(f"http://127.0.0.1:{closed_port}", "down")
    key = await client.create_key()
    large = b"x" * 200_000  # through the relay
    replies = [
        *[await client.get(path, key.header) for path in ("/cores/failing/status/500",) * 3],
        *[await client.get(path, key.header) for path in ("/cores/down/x", "/cores/failing/x")],
        await client.request("POST", "/cores/failing/status/503", key.header, body=large),
        await client.get("/v1/keys/verify", key.header),
    ]
    assert [reply.status for reply in replies] == [500, 500, 500, 502, 200, 503, 200]
    client.child.stop(timeout_s=60)
    assert client_counts(client) == {"FailedRequests": 0, "CoreResults": 6, "CoreErrors": 5}


def client_counts(client: Any) -> dict[str, int]:
    """What the process has published about the responses that clients received."""
    lines = [json.loads(line) for line in client.log.read_text().splitlines()]
    names = ("FailedRequests", "CoreResults", "CoreErrors")
    return {name: sum(line.get(name, 0) for line in lines) for name in names}
