"""Proxy of a running gateway."""

import asyncio
import os
import re
from typing import Any

import pytest
from gatehouse.features.cores.repository import COLUMNS, core_record
from gatehouse.features.cores.service import core_secret
from gatehouse.platform.tracing.context import RequestTrace, trace_id_of

from tests.runtime.services.gateway.conftest import limit
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits
from tests.runtime.waiting import PAUSE_S, until
from tools.attack.cases import AMBIGUOUS_HEADERS, AMBIGUOUS_PATHS


@pytest.fixture
async def key(gateway: Any, docs: Any) -> Any:
    return await gateway.create_key()


async def get(
    gateway: Any, key: Any, path: str, *headers: str, method: str = "GET", body: bytes | None = None
) -> Any:
    return await gateway.request(method, path, key.bearer, *headers, body=body)


async def test_path_reaches_core_unchanged(gateway: Any, core: Any, key: Any) -> None:
    for path in (
        *("/files/%C3%BCber%20%E2%82%AC%20100%25.txt", "/files/a%2Fb", "/files/%252e%252e"),
        *("/files//double/", "/files/a;b=c,d!$&'()*+:@~", "/?q=a%20b&r=%2e%2e/.."),
    ):
        reply = await get(gateway, key, "/cores/docs" + path)
        assert (reply.status, reply.body) == (200, b"hello")
        assert reply.header("ratelimit-policy") == '"requests";q=1000;w=1'
        assert core.last[0] == f"GET {path} HTTP/1.1"


async def test_core_gets_its_secret_but_never_the_token(gateway: Any, core: Any, key: Any) -> None:
    forged = (
        "Gatehouse-Key-Id: forged",
        "Gatehouse_Key_Owner: forged",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Host: forged",
        "X-Real-IP: 6.6.6.6",
        "X-Scheme: https",
        "Proxy: http://6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "Connection: X-Hop",
        "X-Hop: 1",
        "X_Kept: no",
        "X-Goog-Authenticated-User-Email: forged",
        "Cookie: __Host-gatehouse=session; __Secure-Host-a=1",
        "X-Kept: yes",
    )
    reply = await get(gateway, key, "/cores/docs/x", *forged)
    _, headers, _ = core.last
    record = core_record(
        await gateway.pool.fetchrow(f"SELECT {COLUMNS} FROM core WHERE name = 'docs'")  # noqa: S608
    )
    assert headers == {
        "cookie": "__Host-a=1",
        "x-kept": "yes",
        "authorization": f"Bearer {core_secret(gateway.pepper, record)}",
        "gatehouse-key-id": key.id,
        "gatehouse-key-name": "reader",
        "gatehouse-customer-id": "team-a",
        "gatehouse-request-id": reply.header("x-request-id"),
        "traceparent": RequestTrace(reply.header("x-request-id"), None, sampled=False).traceparent,
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "gateway.test",
        "x-forwarded-prefix": "/cores/docs",
        "forwarded": 'for="127.0.0.1";proto=http;host="gateway.test"',
        "host": f"127.0.0.1:{core.port}",
    }
    assert key.token not in str(core.requests)


@pytest.mark.parametrize("upgrade", ["", "h2c", "xwebsocket", "websocket/13"])
async def test_body_reaches_core_complete(gateway: Any, core: Any, key: Any, upgrade: str) -> None:
    more = ["Connection: upgrade", f"Upgrade: {upgrade}"] if upgrade else []
    for size in (0, 1, 65_537, 400_000):
        body = os.urandom(size)
        reply = await get(gateway, key, "/cores/docs/upload", *more, method="POST", body=body)
        assert reply.status == 200
        _, headers, received = core.last
        assert (received, headers["content-length"]) == (body, str(size))


async def test_any_method_is_proxied(gateway: Any, core: Any, key: Any) -> None:
    for method in ("HEAD", "PUT", "OPTIONS", "PROPFIND", "PURGE", "SOURCE", "REPORT", "MKCALENDAR"):
        assert (await get(gateway, key, "/cores/docs/x", method=method)).status == 200
        assert core.last[0] == f"{method} /x HTTP/1.1"
    count = len(core.requests)
    assert (await get(gateway, key, "/cores/docs/x", method="TRACE")).status == 405
    assert len(core.requests) == count


async def test_response_is_forwarded_unchanged(gateway: Any, key: Any) -> None:
    reply = await get(gateway, key, "/cores/docs/odd")
    assert (reply.status, reply.body) == (301, b"\x1f\x8b\x08\x00")
    assert reply.header("location") == "http://elsewhere.example/"
    assert reply.all("set-cookie") == ["a=1", "b=2"]
    assert (reply.header("x-hop"), reply.header("x-bad"), reply.header("x-good")) == (
        None,
        "caf\xe9",
        "yes",
    )
    assert reply.header("service-worker-allowed") is None
    assert reply.all("ratelimit") == ['"requests";r=999;t=1']


async def test_service_worker_of_a_core_applies_to_this_core(gateway: Any, docs: Any) -> None:
    """The scope of a script is the folder of its path (Service Workers, section 4.4)."""
    key = await gateway.create_key()
    for path, status in (("", 403), ("?a=/", 403), ("/", 200), ("/a.js", 200)):
        header = "Service-Worker: script"
        reply = await gateway.get(f"/cores/docs{path}", key.bearer, header)
        assert reply.status == status
        page = await gateway.get(f"/cores/docs{path}", key.bearer)
        assert page.status == (200 if path.startswith("/") else 308)


async def test_status_of_core_is_forwarded(gateway: Any, key: Any) -> None:
    for status in (204, 304, 401, 429, 500, 503):
        reply = await get(gateway, key, f"/cores/docs/status/{status}")
        assert reply.status == status
        assert reply.body == (b"" if status in (204, 304) else f"core says {status}".encode())


async def test_http_1_0_client_receives_no_chunks(gateway: Any, core: Any, key: Any) -> None:
    core.resume.set()
    head = f"GET /cores/docs/slow HTTP/1.0\r\nHost: g\r\n{key.header}\r\n\r\n"
    reply = await gateway.send(head.encode())
    assert (reply.header("transfer-encoding"), reply.body) == (None, b"firstsecond")


async def test_client_disconnect_before_the_decision_ends_the_request(
    gateway: Any, key: Any
) -> None:
    key = await gateway.create_key()  # is read from the database
    head = f"GET /cores/docs/endless HTTP/1.1\r\nHost: g\r\n{key.header}\r\n\r\n"
    async with gateway.connection(head.encode()):
        pass
    assert (await gateway.lines_with(key_id=key.id))[0]["status"] == 499


async def test_core_with_expired_lease_is_503(gateway: Any, key: Any) -> None:
    await gateway.pool.execute(
        "UPDATE core SET expires_at = now() - interval '1 second' WHERE name = 'docs'"
    )
    seq = await gateway.pool.fetchval("SELECT change_seq FROM core WHERE name = 'docs'")
    assert seq
    async with asyncio.timeout(60):
        while (reply := await get(gateway, key, "/cores/docs/x")).status == 200:
            await asyncio.sleep(PAUSE_S)
    assert (reply.status, reply.json["code"], reply.header("retry-after")) == (
        503,
        "core_not_registered",
        "1",
    )


async def test_rate_limited_request_does_not_reach_core(gateway: Any, core: Any, key: Any) -> None:
    small = await gateway.create_key(limits=[limit(2)])
    assert [(await get(gateway, small, "/cores/docs/x")).status for _ in range(3)] == [
        200,
        200,
        429,
    ]
    reply = await get(gateway, small, "/cores/docs/x")
    wait_s = int(reply.header("retry-after"))
    assert 1700 < wait_s <= 1800  # since the first request
    assert (reply.json["code"], reply.header("ratelimit")) == (
        "RATE_LIMITED",
        f'"requests";r=0;t={wait_s}',
    )
    assert len(core.requests) == 2


@pytest.mark.parametrize("raw", AMBIGUOUS_PATHS)
async def test_ambiguous_path_is_400(gateway: Any, core: Any, key: Any, raw: bytes) -> None:
    reply = await get(gateway, key, raw.decode("utf-8"))
    assert reply.outcome == (400, "bad_request")
    assert core.requests == []


@pytest.mark.parametrize(("headers", "detail"), AMBIGUOUS_HEADERS)
async def test_ambiguous_request_is_400(
    gateway: Any, core: Any, key: Any, headers: tuple[str, ...], detail: str
) -> None:
    reply = await get(gateway, key, "/cores/docs/x", *headers)
    assert (reply.status, reply.json["detail"]) == (400, detail)
    assert core.requests == []


async def test_token_in_query_is_ignored(gateway: Any, key: Any) -> None:
    assert (await gateway.get(f"/cores/docs/x?api_key={key.token}&key={key.token}")).status == 401


async def test_request_line_has_no_token_or_query(gateway: Any, key: Any) -> None:
    reply = await get(gateway, key, f"/cores/docs/files/report.txt?token={key.token}")
    await get(gateway, key, f"/cores/docs/{key.token}")
    (line,) = await gateway.lines_with(request_id=reply.header("x-request-id"))
    assert line.pop("ms") > 0
    assert re.fullmatch(r"\d{4}-.*Z", line.pop("ts"))
    assert line == {
        "environment": "dev",
        "event": "request",
        "level": "info",
        "request_id": reply.header("x-request-id"),
        "trace_id": trace_id_of(reply.header("x-request-id")),
        "service": "gateway",
        "method": "GET",
        "route": "/cores/{name}/{path}",
        "path": "/cores/docs/files/report.txt",
        "status": 200,
        "key_id": key.id,
        "code": "VALID",
    }
    assert key.token not in gateway.log.read_text()


async def test_client_cannot_report_the_end_of_a_request(gateway: Any, key: Any) -> None:
    """Credits are refunded for requests that reached no Core."""
    paid = await gateway.create_key()
    await gateway.pool.execute(
        "INSERT INTO key_credit (family_id, remaining, refilled_at) "
        "SELECT family_id, 5, now() FROM api_key WHERE id = $1",
        paid.id,
    )
    await gateway.pool.execute("UPDATE api_key SET has_credits = true WHERE id = $1", paid.id)
    forged = (f"Gatehouse-Key-Id: {paid.id}", "Gatehouse-Request-Id: req_00")
    for path in ("/cores/docs/x", "/cores/none/x", "/v1/keys/verify", "/nothing"):
        await gateway.get(path, *forged)
        await gateway.get(path, key.bearer, *forged)
    lines = await gateway.lines_with(key_id=key.id, status=404)
    assert lines
    assert not [line for line in gateway.lines() if line.get("key_id") == paid.id]
    left = "SELECT remaining FROM key_credit JOIN api_key USING (family_id) WHERE id = $1"
    assert await gateway.pool.fetchval(left, paid.id) == 5


async def test_requests_in_progress_of_a_key_are_bounded(
    gateway: Any, core: Any, key: Any, another: Any
) -> None:
    client, other = another(GATEHOUSE_KEY_REQUESTS_MAX="3"), await gateway.create_key()
    head = f"GET /cores/docs/silent HTTP/1.1\r\nHost: g\r\n{key.header}\r\n\r\n".encode()
    for _ in range(3):  # a request whose client has left does not count
        core.requests.clear()
        core.disconnected.clear()
        async with client.connection(head):
            await until(lambda: core.requests)
        await core.disconnected.wait()
        await _ended(client)
    core.requests.clear()
    pending = [asyncio.create_task(get(client, key, "/cores/docs/slow")) for _ in range(3)]
    await until(lambda: len(core.requests) >= 3)
    reply = await get(client, key, "/cores/docs/x")
    assert reply.outcome == (429, "too_many_requests")
    assert (await get(client, other, "/cores/docs/x")).status == 200
    core.resume.set()
    assert [reply.body for reply in await asyncio.gather(*pending)] == [b"firstsecond"] * 3
    await _ended(client)
    assert (await get(client, key, "/cores/docs/x")).status == 200


async def _ended(client: Any) -> None:
    """A request counts until its line in the access log has been read."""
    async with asyncio.timeout(60):
        while await client.metric("gatehouse_requests_in_progress"):
            await asyncio.sleep(PAUSE_S)


async def test_request_is_rejected_if_the_core_has_too_many_in_progress(
    core: Any, key: Any, another: Any
) -> None:
    client = another(GATEHOUSE_CORE_REQUESTS_MAX="1")
    async with asyncio.timeout(60):
        first = asyncio.create_task(get(client, key, "/cores/docs/slow"))
        await until(lambda: core.requests)
    with_credits = await key_with_credits(client, 10)
    second = await get(client, with_credits, "/cores/docs/second")
    assert second.outcome == (503, "core_overloaded")
    assert (second.header("retry-after"), second.header("ratelimit") is None) == ("1", False)
    async with asyncio.timeout(60):
        while not await client.metric('gatehouse_core_errors_total{code="core_overloaded"}'):
            await asyncio.sleep(PAUSE_S)
        while await remaining_credits(client, with_credits) != 10:
            await asyncio.sleep(PAUSE_S)
    core.resume.set()
    assert (await first).body == b"firstsecond"
    assert (await get(client, key, "/cores/docs/third")).body == b"hello"
    assert [line for line, _, _ in core.requests] == ["GET /slow HTTP/1.1", "GET /third HTTP/1.1"]
