"""Unknown paths, methods, health, metrics, OpenAPI and malformed requests: one problem document,
never a 500.
"""

import asyncio
import json
import secrets
from typing import Any

import pytest
from gatehouse.platform.header_limits import FIELDS_MAX
from gatehouse.platform.tracing.context import trace_id_of

from tests.runtime.waiting import PAUSE_S

VERIFY = "/v1/keys/verify"


#: Malformed bodies of `POST /v1/keys/verify`, with the location in the response with status 400.
#: tests/runtime/platform/web/test_validation.py has all kinds.
MALFORMED_BODIES: tuple[tuple[bytes, str], ...] = (
    (b'{"token":"\\ud800"}', "body"),
    (b'{"token":"a","cost":1e400}', "body.cost"),
    (b"{}", "body.token"),
    (b'{"token": "x", "scope": "a"}', "body.scope"),
    (b'{"token": "x", "scopes": ["A"]}', "body.scopes[0]"),
    (b'{"token":"a","core":"Docs\\u0000"}', "body.core"),
)


async def test_unknown_path_is_problem_document(gateway: Any) -> None:
    reply = await gateway.get("/nothing")
    assert (reply.status, reply.header("content-type")) == (404, "application/problem+json")
    assert reply.json == {
        "type": "urn:gatehouse:problem:not_found",
        "title": "The resource does not exist",
        "status": 404,
        "detail": "The resource does not exist.",
        "code": "not_found",
        "request_id": reply.header("x-request-id"),
        "trace_id": trace_id_of(reply.header("x-request-id")),
    }


async def test_health_and_readiness(gateway: Any) -> None:
    assert (await gateway.get("/healthz")).json == {"status": "ok"}
    async with asyncio.timeout(60):
        while (ready := await gateway.get("/readyz")).json["status"] != "ready":
            # The announcements or the database were last read too long ago.
            await asyncio.sleep(PAUSE_S)
    assert (ready.status, ready.json) == (
        200,
        {
            "status": "ready",
            "checks": {"announcements": "ok", "database": "ok", "keys": "ok", "redis": "ok"},
        },
    )
    head = await gateway.request("HEAD", "/healthz")
    assert (head.status, head.header("content-length"), head.body) == (200, "15", b"")


async def test_metrics_have_no_key_ids(gateway: Any) -> None:
    key = await gateway.create_key()
    decisions = 'gatehouse_decisions_total{code="VALID"}'
    before = await gateway.metric(decisions)
    await gateway.verify(key.token)
    await gateway.verify(key.token)
    assert await gateway.metric(decisions) == before + 2
    text = (await gateway.get("/metrics")).body.decode()
    for name in (
        "gatehouse_request_seconds_bucket",
        "gatehouse_staleness_seconds",
        "gatehouse_cached_keys",
    ):
        assert name in text
    assert key.id not in text
    assert key.token not in text


@pytest.mark.parametrize("underscore", ["_", "%5F", "%5f", "%255f", "%25255f"])
async def test_token_in_path_is_not_logged(gateway: Any, underscore: str) -> None:
    secret = secrets.token_hex(20)
    reply = await gateway.get(f"/x/gtk{underscore}live{underscore}{secret}")
    (line,) = await gateway.lines_with(request_id=reply.header("x-request-id"))
    assert line["path"] == "(hidden: may contain an API key)"
    assert secret not in gateway.log.read_text()


def _errors(reply: Any) -> tuple[str, str]:
    assert (reply.status, reply.header("content-type")) == (400, "application/problem+json")
    (error,) = reply.json["errors"]
    return error["location"], error["message"]


@pytest.mark.parametrize(("body", "location"), MALFORMED_BODIES)
async def test_invalid_request_is_explained(gateway: Any, body: bytes, location: str) -> None:
    found, message = _errors(await gateway.request("POST", VERIFY, body=body))
    assert (found, bool(message)) == (location, True)


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("core=%00", "query"),
        ("core=%ff", "query"),
        ("core=" + "a" * 41, "query.core"),
        ("scope=Cores", "query.scope[0]"),
        ("&".join(["scope=a"] * 51), "query.scope"),
        ("core=a&core=b", "query.core"),
        ("other=a", "query.other"),
    ],
)
async def test_query_parameters_are_validated(gateway: Any, query: str, location: str) -> None:
    key = await gateway.create_key()
    reply = await gateway.get(f"{VERIFY}?{query}", key.header)
    assert _errors(reply)[0] == location


@pytest.mark.parametrize(
    "header",
    [
        "X-API-Key: \u00eb",
        "Authorization: Bearer \u00eb",
        "Authorization: \u00eb",
        "X-API-Key: " + "a" * 8000,
    ],
)
async def test_token_with_odd_characters_is_unknown(gateway: Any, header: str) -> None:
    assert (await gateway.get(VERIFY, header)).status == 401


async def test_too_many_headers_are_431(gateway: Any) -> None:
    headers = [f"X-{number}: 1" for number in range(FIELDS_MAX)]
    reply = await gateway.get("/healthz", *headers)
    assert reply.outcome == (431, "headers_too_large")
    assert (await gateway.get("/healthz", *headers[:-10])).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: {}", "Transfer-Encoding: chunked"])
async def test_expectation_is_answered_before_the_body(gateway: Any, framing: str) -> None:
    for size, status in ((100, 200), (70_000, 413)):
        body = json.dumps({"token": "a" * (size - 13)}).encode()
        fields = ("Host: g", framing.format(len(body)), "Expect: 100-continue", "", "")
        head = "\r\n".join((f"POST {VERIFY} HTTP/1.1", *fields)).encode()
        async with gateway.connection(head) as (reader, writer):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            writer.write(body if "Length" in framing else chunk)
            start = await reader.readuntil(b"\r\n\r\n")
            assert start.startswith(b"HTTP/1.1 %d " % status)
