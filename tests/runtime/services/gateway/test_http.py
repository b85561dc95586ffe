"""Responses from the gateway other than verification results: unknown paths, methods, health,
metrics and OpenAPI.
"""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from gatehouse.platform.tracing.context import trace_id_of

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def test_unknown_path_is_problem_document(gateway: Any) -> None:
    reply = await gateway.request("GET", "/nothing")
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


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/keys/verify", "GET, HEAD, OPTIONS, POST"),
        ("/v1/cores/docs", "DELETE, OPTIONS, PUT"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_wrong_method_lists_allowed_ones(gateway: Any, path: str, allow: str) -> None:
    reply = await gateway.request("PATCH", path)
    assert (reply.status, reply.header("allow"), reply.json["code"]) == (
        405,
        allow,
        "method_not_allowed",
    )
    options = await gateway.request("OPTIONS", path)
    assert (options.status, options.header("allow"), options.body) == (204, allow, b"")


async def test_trace_is_rejected(gateway: Any) -> None:
    assert (await gateway.request("TRACE", "/cores/docs/x")).status == 405


@pytest.mark.requirement("TR-12")
async def test_health_and_readiness(gateway: Any) -> None:
    assert (await gateway.request("GET", "/healthz")).json == {"status": "ok"}
    ready = await gateway.request("GET", "/readyz")
    assert (ready.status, ready.json) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "keys": "ok", "redis": "ok"}},
    )
    head = await gateway.request("HEAD", "/healthz")
    assert (head.status, head.header("content-length"), head.body) == (200, "15", b"")


@pytest.mark.requirement("TR-13")
async def test_metrics_have_no_key_ids(gateway: Any) -> None:
    key = await gateway.create_key()
    decisions = 'gatehouse_decisions_total{code="VALID"}'
    before = await gateway.metric(decisions)
    await gateway.verify(key.token)
    await gateway.verify(key.token)
    assert await gateway.metric(decisions) == before + 2
    text = (await gateway.request("GET", "/metrics")).body.decode()
    for name in (
        "gatehouse_request_seconds_bucket",
        "gatehouse_staleness_seconds",
        "gatehouse_cached_keys",
    ):
        assert name in text
    assert key.id not in text
    assert key.token not in text


async def test_unknown_path_adds_no_metric(gateway: Any) -> None:
    await gateway.request("GET", "/made/up/path")
    assert "/made/up" not in (await gateway.request("GET", "/metrics")).body.decode()


@pytest.mark.requirement("TR-16")
async def test_openapi_describes_every_route(gateway: Any) -> None:
    document = (await gateway.request("GET", "/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    described = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item
        if method.upper() in METHODS
    }
    for path in document["paths"]:
        if path.startswith("/cores/"):
            continue
        allow = (await gateway.request("OPTIONS", path.replace("{name}", "docs"))).header("allow")
        offered = {(path, method) for method in allow.split(", ")} - {
            (path, "OPTIONS"),
            (path, "HEAD"),
        }
        assert offered <= described


@pytest.mark.requirement("TR-14")
@pytest.mark.parametrize("environment", ["test", "live", "admin"])
@pytest.mark.parametrize("underscore", ["_", "%5F", "%5f"])
async def test_token_in_path_is_not_logged(gateway: Any, environment: str, underscore: str) -> None:
    secret = secrets.token_hex(20)
    reply = await gateway.request("GET", f"/x/gtk{underscore}{environment}{underscore}{secret}")
    (line,) = await gateway.lines_with(request_id=reply.header("x-request-id"))
    assert line["path"] == "(hidden: may contain an API key)"
    assert secret not in gateway.log.read_text()


async def test_token_as_method_is_rejected_and_not_logged(gateway: Any) -> None:
    secret = secrets.token_hex(20)
    reply = await gateway.send(f"gtk_test_{secret} / HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    assert (reply.status, reply.json["code"]) == (400, "bad_request")
    await gateway.lines_with(event="rejected", code="bad_request")
    assert secret not in gateway.log.read_text()
