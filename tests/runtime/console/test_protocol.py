"""Properties of all console responses: problem documents, headers, strict JSON and OpenAPI."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from gatehouse.console import asgi as console_asgi
from gatehouse.errors import BadRequest
from gatehouse.http import json_body as body
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from tests.runtime.console.conftest import BOOTSTRAP, Console

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"name":"a","name":"b"}', 'has the name "name" twice'),
        (b'{"name":"a","limits":[{"quota":1,"quota":2}]}', 'has the name "quota" twice'),
        (b'{"name":"\\ud800"}', "contains a NUL character or an unpaired surrogate"),
        (b'{"name":"\\u0000"}', "contains a NUL character or an unpaired surrogate"),
        (b'{"a\\u0000":1}', "contains a NUL character or an unpaired surrogate"),
        (b'{"ttl_s":NaN}', "contains NaN, which is not JSON"),
        (b'{"ttl_s":' + b"9" * 5000 + b"}", "contains a number with too many digits"),
        (b"[" * 5000 + b"]" * 5000, "is nested more than 16 levels deep"),
        (b'{"name":', "is not valid JSON"),
        (b"\xff\xfe{\x00}\x00", "is not UTF-8 text"),
        (b"null", "must be an object"),
        (b'"text"', "must be an object"),
    ],
)
async def test_ambiguous_or_malformed_json_is_rejected(console: Console, content: bytes, message: str) -> None:
    reply = await console.client.post("/v1/keys", content=content, headers=JSON)
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["message"] == message


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(), st.lists, max_leaves=8))
def test_strict_parser_agrees_with_json_module(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    denials = {
        "contains a NUL character or an unpaired surrogate",
        "is not UTF-8 text",
        "is nested more than 16 levels deep",
    }
    parsed, denied = _parse(raw)
    assert denied in denials if denied else parsed == value


@given(st.binary(max_size=200))
def test_strict_parser_returns_value_or_bad_request(raw: bytes) -> None:
    parsed, denied = _parse(raw)
    assert denied or parsed == json.loads(raw)


def _parse(raw: bytes) -> tuple[Any, str]:
    """The parsed value, or the reason for its rejection."""
    try:
        return body.parse(raw), ""
    except BadRequest as error:
        return None, error.errors[0].message


async def test_body_above_the_size_limit_is_not_parsed(console: Console) -> None:
    reply = await console.client.post("/v1/keys", content=b" " * 65_537, headers=JSON)
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


async def test_body_without_content_length_is_bounded(console: Console) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    reply = await console.client.post("/v1/keys", content=chunks(), headers=JSON)
    assert reply.status_code == 413


async def test_form_body_is_not_parsed_as_json(console: Console) -> None:
    reply = await console.client.post("/v1/keys", data={"name": "x"})
    assert reply.json()["errors"][0]["fix"] == "send Content-Type: application/json"


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("limit=0", "query.limit"),
        ("limit=x", "query.limit"),
        ("x=1", "query.x"),
        ("owner=a&owner=b", "query.owner"),
        ("owner=%00", "query"),
        ("owner=%zz", "query"),
        ("owner=%ff", "query"),
    ],
)
async def test_invalid_query_parameter_is_named(console: Console, query: str, location: str) -> None:
    reply = await console.client.get(f"/v1/keys?{query}")
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, location)


async def test_unknown_path_is_a_problem_document(console: Console) -> None:
    reply = await console.client.get("/v1/nothing")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


async def test_wrong_method_is_405_with_allow_header(console: Console) -> None:
    reply = await console.client.put("/v1/keys")
    assert (reply.status_code, reply.headers["allow"], reply.json()["code"]) == (405, "GET, POST", "method_not_allowed")


async def test_internal_error_is_500_with_request_id(console: Console) -> None:
    def broken(count: int) -> bytes:
        raise RuntimeError("canary-of-a-defect")

    transport = httpx.ASGITransport(console_asgi.create(replace(console.dependencies, random_bytes=broken)))
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test") as client:
        reply = await client.post("/v1/keys", json={"name": "x"}, headers=console.as_(BOOTSTRAP))
    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"] in reply.json()["detail"]
    assert "RuntimeError at test_protocol.py" in console.lines.entries[-1]["detail"]
    assert "canary" not in reply.text + str(console.lines.entries[-1])


async def test_database_failure_is_503_without_its_message(console: Console) -> None:
    console.database.sql("ALTER TABLE api_key RENAME COLUMN owner TO canary")
    try:
        reply = await console.client.get("/v1/keys")
    finally:
        console.database.sql("ALTER TABLE api_key RENAME COLUMN canary TO owner")
    assert (reply.status_code, reply.headers["retry-after"], reply.json()["code"]) == (503, "1", "unavailable")
    assert "api_key" not in reply.text


@pytest.mark.requirement("SS-13")
@pytest.mark.parametrize("path", ["/", "/openapi.json", "/healthz", "/v1/keys", "/v1/nothing", "/style.css"])
async def test_every_response_has_the_security_headers(console: Console, path: str) -> None:
    headers = (await console.client.get(path)).headers
    assert "script-src" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"].startswith("max-age=63072000")
    assert headers["x-request-id"].startswith("req_")


async def test_root_page_names_the_service_and_has_no_script(console: Console) -> None:
    reply = await console.client.get("/")
    assert reply.headers["content-type"].startswith("text/html")
    assert 'href="/openapi.json"' in reply.text
    assert "<script" not in reply.text
    assert "style=" not in reply.text


async def test_openapi_document_is_valid_and_lists_every_problem(console: Console) -> None:
    document = (await console.client.get("/openapi.json")).json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    create = document["paths"]["/v1/keys"]["post"]
    assert {"201", "400", "401", "403", "413", "500", "503"} <= set(create["responses"])
    assert list(create["responses"]["422"]["content"]) == ["application/problem+json"]
    assert create["responses"]["401"]["content"]["application/problem+json"]["example"]["code"] == "unauthorized"
    assert create["security"] == [{"admin": []}, {"session": []}]


async def test_liveness_readiness_and_metrics_are_served(console: Console) -> None:
    assert (await console.client.get("/healthz")).json() == {"status": "ok"}
    assert (await console.client.get("/readyz")).json() == {"status": "ready", "checks": {"database": "ok"}}
    assert 'gatehouse_request_seconds_count{route="/readyz",service="console"' in (await console.client.get("/metrics")).text


async def test_log_contains_the_route_not_the_path(console: Console) -> None:
    await console.client.get("/v1/keys/gtk_test_pasted_by_mistake")
    line = console.lines.entries[-1]
    assert (line["route"], line["path"], line["status"], line["key_id"]) == (
        "/v1/keys/{id}",
        "/v1/keys/{id}",
        404,
        "bootstrap",
    )
