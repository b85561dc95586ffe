"""What every answer of the console door has in common: problems, headers, strict bodies, the OpenAPI document."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from gatehouse.console import asgi as console
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
async def test_a_body_that_can_be_understood_in_two_ways_or_none_is_refused(door: Console, content: bytes, message: str) -> None:
    reply = await door.client.post("/v1/keys", content=content, headers=JSON)
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["message"] == message


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(), st.lists, max_leaves=8))
def test_the_strict_parser_agrees_with_json_wherever_it_does_not_refuse(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    refusals = {
        "contains a NUL character or an unpaired surrogate",
        "is not UTF-8 text",
        "is nested more than 16 levels deep",
    }
    parsed, refused = _parse(raw)
    assert refused in refusals if refused else parsed == value


@given(st.binary(max_size=200))
def test_the_strict_parser_answers_any_bytes_with_a_value_or_a_bad_request(raw: bytes) -> None:
    parsed, refused = _parse(raw)
    assert refused or parsed == json.loads(raw)


def _parse(raw: bytes) -> tuple[Any, str]:
    """The value, or why it was refused."""
    try:
        return body.parse(raw), ""
    except BadRequest as refusal:
        return None, refusal.errors[0].message


async def test_a_body_beyond_the_bound_is_refused_without_being_parsed(door: Console) -> None:
    reply = await door.client.post("/v1/keys", content=b" " * 65_537, headers=JSON)
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


async def test_a_body_without_a_declared_length_is_bounded_too(door: Console) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    reply = await door.client.post("/v1/keys", content=chunks(), headers=JSON)
    assert reply.status_code == 413


async def test_a_form_is_not_taken_for_json(door: Console) -> None:
    reply = await door.client.post("/v1/keys", data={"name": "x"})
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
async def test_a_query_that_does_not_fit_is_refused_by_name(door: Console, query: str, location: str) -> None:
    reply = await door.client.get(f"/v1/keys?{query}")
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, location)


async def test_an_unknown_address_is_a_problem(door: Console) -> None:
    reply = await door.client.get("/v1/nothing")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


async def test_a_wrong_method_is_a_problem_that_names_all_that_work(door: Console) -> None:
    reply = await door.client.put("/v1/keys")
    assert (reply.status_code, reply.headers["allow"], reply.json()["code"]) == (405, "GET, POST", "method_not_allowed")


async def test_a_defect_of_ours_is_a_500_that_tells_the_caller_the_request_id_and_the_log_the_place(door: Console) -> None:
    def broken(count: int) -> bytes:
        raise RuntimeError("canary-of-a-defect")

    transport = httpx.ASGITransport(console.create(replace(door.parts, random_bytes=broken)))
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test") as client:
        reply = await client.post("/v1/keys", json={"name": "x"}, headers=door.as_(BOOTSTRAP))
    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"] in reply.json()["detail"]
    assert "RuntimeError at test_protocol.py" in door.lines.kept[-1]["detail"]
    assert "canary" not in reply.text + str(door.lines.kept[-1])


async def test_a_database_that_fails_is_a_503_without_its_words(door: Console) -> None:
    door.database.sql("ALTER TABLE api_key RENAME COLUMN owner TO canary")
    try:
        reply = await door.client.get("/v1/keys")
    finally:
        door.database.sql("ALTER TABLE api_key RENAME COLUMN canary TO owner")
    assert (reply.status_code, reply.headers["retry-after"], reply.json()["code"]) == (503, "1", "unavailable")
    assert "api_key" not in reply.text


@pytest.mark.requirement("SS-13")
@pytest.mark.parametrize("path", ["/", "/openapi.json", "/healthz", "/v1/keys", "/v1/nothing", "/style.css"])
async def test_every_answer_carries_the_security_headers(door: Console, path: str) -> None:
    headers = (await door.client.get(path)).headers
    assert "script-src" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"].startswith("max-age=63072000")
    assert headers["x-request-id"].startswith("req_")


async def test_the_page_at_the_root_says_what_this_door_is_and_runs_no_script(door: Console) -> None:
    reply = await door.client.get("/")
    assert reply.headers["content-type"].startswith("text/html")
    assert 'href="/openapi.json"' in reply.text
    assert "<script" not in reply.text
    assert "style=" not in reply.text


async def test_the_openapi_document_is_valid_and_knows_every_problem(door: Console) -> None:
    document = (await door.client.get("/openapi.json")).json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    create = document["paths"]["/v1/keys"]["post"]
    assert {"201", "400", "401", "403", "413", "500", "503"} <= set(create["responses"])
    assert list(create["responses"]["422"]["content"]) == ["application/problem+json"]
    assert create["responses"]["401"]["content"]["application/problem+json"]["example"]["code"] == "unauthorized"
    assert create["security"] == [{"admin": []}, {"session": []}]


async def test_liveness_readiness_and_metrics_answer(door: Console) -> None:
    assert (await door.client.get("/healthz")).json() == {"status": "ok"}
    assert (await door.client.get("/readyz")).json() == {"status": "ready", "checks": {"database": "ok"}}
    assert 'gatehouse_request_seconds_count{route="/readyz",service="console"' in (await door.client.get("/metrics")).text


async def test_the_log_names_routes_and_never_the_path_that_was_sent(door: Console) -> None:
    await door.client.get("/v1/keys/gtk_test_pasted_by_mistake")
    line = door.lines.kept[-1]
    assert (line["route"], line["path"], line["status"], line["key_id"]) == (
        "/v1/keys/{id}",
        "/v1/keys/{id}",
        404,
        "bootstrap",
    )
