"""Usage counts of a gateway process."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from gatehouse.core.verification import AGENT

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
        ("", "VALID"): 1,
        ("", "UNKNOWN_CORE"): 1,
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
        ("GET", path, (), "NO_CREDENTIAL", "credential", "", ""),
        ("GET", path, (limited.header,) * 2, "INVALID_REQUEST", "request", "bad_request", ""),
        ("GET", path, _MALFORMED_HANDSHAKE, "INVALID_REQUEST", "request", "bad_request", ""),
        ("GET", "/cores/made-up/x", (network.bearer,), "FORBIDDEN", "address", "", network.id),
        (
            "GET",
            "/cores/made-up/x",
            (valid.bearer,),
            "UNKNOWN_CORE",
            "registered core",
            "",
            valid.id,
        ),
    ]
    expected = {}
    for verb, target, headers, code, check, detail, key_id in cases:
        reply = await gateway.request(verb, target, *headers)
        assert reply.status in (400, 401, 403, 404, 429), (target, reply.body)
        name = target.split("/")[2] if target.startswith("/cores/") else ""
        shown = target if name else ""
        denied = key_id, name, code, check, detail, "127.0.0.1", verb, shown, reply.status, 1
        expected[reply.header("x-request-id")] = denied
    async with asyncio.timeout(60):
        while len(rows := await _recorded(gateway, list(expected))) < len(expected):
            await asyncio.sleep(0.02)
    assert rows == expected
    assert len(rows) == len(cases)


_SCOPES = "INSUFFICIENT_PERMISSIONS", "scopes"
_MALFORMED_HANDSHAKE = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: short"


async def _recorded(gateway: Gateway, request_ids: list[Any]) -> dict[Any, tuple[Any, ...]]:
    rows = await gateway.pool.fetch(
        "SELECT request_id, key_id, core, code, failed_check, detail, address, method, path, "
        "status, count FROM gateway_request WHERE request_id = ANY ($1)",
        request_ids,
    )
    return {request_id: tuple(rest) for request_id, *rest in rows}


async def _sums(gateway: Gateway) -> tuple[Counter[str], Counter[str]]:
    """Counted and recorded requests by code."""
    counted = await gateway.pool.fetch(
        "SELECT code, sum(count)::int FROM usage_count WHERE width_s = 60 AND code <> $1 "
        "GROUP BY 1",
        AGENT,
    )
    recorded = await gateway.pool.fetch(
        "SELECT code, sum(count)::int FROM gateway_request GROUP BY 1"
    )
    return Counter(dict(map(tuple, counted))), Counter(dict(map(tuple, recorded)))


async def test_every_request_is_counted_and_recorded_once(gateway: Gateway, core: Any) -> None:
    """Of allowed requests, with the response and the duration. Numbers of a page that reads the
    counts equal those of a page that reads the requests.
    """
    await gateway.register(core.url, "recorded")
    key, limited = await gateway.create_key(), await gateway.create_key(limits=[limit(1)])
    before = await _sums(gateway)
    requests = [
        ("GET", "/cores/recorded/status/404?secret=1", (key.header,), "VALID"),
        ("POST", f"/cores/recorded/x/{key.token}", (key.header,), "VALID"),
        ("GET", "/v1/keys/verify?core=recorded&scope=cores:read", (key.header,), "VALID"),
        *[("GET", "/cores/recorded/x", (limited.header,), "VALID")],
        *[("GET", "/cores/recorded/x", (limited.header,), "RATE_LIMITED")] * 20,
        ("GET", "/cores/recorded/x", (), "NO_CREDENTIAL"),
        ("GET", f"/cores/{key.token}/x", (key.header,), "UNKNOWN_CORE"),
        ("GET", "/cores/none/x", (key.header,), "UNKNOWN_CORE"),
        ("GET", "/cores/recorded/x", (key.header,) * 2, "INVALID_REQUEST"),
        ("POST", "/v1/keys/verify", (), "INVALID_REQUEST"),
    ]
    ids = [
        (await gateway.request(verb, target, *headers)).header("x-request-id")
        for verb, target, headers, _ in requests
    ]
    expected = Counter(code for *_, code in requests)
    async with asyncio.timeout(60):
        while [after - of for after, of in zip(await _sums(gateway), before, strict=True)] != [
            expected,
            expected,
        ]:
            await asyncio.sleep(0.05)
    rows = await gateway.pool.fetch(
        "SELECT request_id, method, path, status, core, duration_us, core_us, key_id "
        "FROM gateway_request WHERE request_id = ANY ($1)",
        ids,
    )
    found = {row["request_id"]: row for row in rows}
    hidden = "(hidden: may contain an API key)"
    for number, (method, path, status, name, is_of_core) in {
        0: ("GET", "/cores/recorded/status/404", 404, "recorded", True),
        1: ("POST", hidden, 200, "recorded", True),
        2: ("GET", "", 200, "recorded", False),
        25: ("GET", hidden, 404, "", False),
        26: ("GET", "/cores/none/x", 404, "none", False),
    }.items():
        row = found[ids[number]]
        assert (row["method"], row["path"], row["status"], row["core"], row["key_id"]) == (
            *(method, path, status, name),
            key.id,
        )
        assert (row["core_us"] is not None) is is_of_core
        # The proxy reports whole milliseconds.
        assert 0 <= (row["core_us"] or 0) <= row["duration_us"] < 60_000_000
    assert key.token not in str(rows)


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
