"""Malformed requests: each gets one problem document and never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools.attack.corpora import MALFORMED_BODIES

VERIFY = "/v1/keys/verify"


def _errors(reply: Any, status: int = 400) -> tuple[str, str, str]:
    """The only error of a problem document."""
    assert (reply.status, reply.header("content-type")) == (status, "application/problem+json")
    (error,) = reply.json["errors"]
    return error["location"], error["message"], error["fix"]


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize(("body", "expected"), MALFORMED_BODIES)
async def test_invalid_request_is_explained(
    gateway: Any, body: bytes, expected: tuple[str, str, str]
) -> None:
    location, message, fix = _errors(await gateway.request("POST", VERIFY, body=body))
    assert (location, message) == expected[:2]
    assert fix
    assert fix == expected[2] or not expected[2]


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize("path", [VERIFY, "/v1/keys/revoke-self"])
@pytest.mark.parametrize(
    "media_type", ["text/plain", "multipart/form-data; boundary=x", "application/xml"]
)
async def test_other_media_type_is_415(gateway: Any, path: str, media_type: str) -> None:
    reply = await gateway.request(
        "POST", path, f"Content-Type: {media_type}", body=b'{"token":"a"}'
    )
    expected = (
        "header.content-type",
        "is not application/json",
        "send Content-Type: application/json",
    )
    assert (_errors(reply, 415), reply.json["code"]) == (expected, "unsupported_media_type")


async def test_other_charset_is_415(gateway: Any) -> None:
    reply = await gateway.request(
        "POST", VERIFY, "Content-Type: application/json; charset=utf-16", body=b'{"token":"a"}'
    )
    expected = (
        "header.content-type",
        "names a charset other than UTF-8",
        "send JSON encoded as UTF-8, without a charset",
    )
    assert _errors(reply, 415) == expected


@pytest.mark.parametrize(
    "header",
    [(), ("Content-Type: application/x-www-form-urlencoded",), ("Content-Type: application/json",)],
)
async def test_curl_form_content_type_is_accepted(gateway: Any, header: tuple[str, ...]) -> None:
    assert (await gateway.request("POST", VERIFY, *header, body=b'{"token":"a"}')).json[
        "code"
    ] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("core=%00", "query"),
        ("core=%zz", "query"),
        ("core=%ff", "query"),
        ("core=Docs", "query.core"),
        ("core=" + "a" * 41, "query.core"),
        ("method=get", "query.method"),
        ("scope=Cores", "query.scope[0]"),
        ("&".join(["scope=a"] * 51), "query.scope"),
        ("core=a&core=b", "query.core"),
        ("other=a", "query.other"),
    ],
)
async def test_query_parameters_are_validated(gateway: Any, query: str, location: str) -> None:
    key = await gateway.create_key()
    reply = await gateway.request("GET", f"{VERIFY}?{query}", f"X-API-Key: {key.token}")
    assert _errors(reply)[0] == location


@pytest.mark.parametrize("query", ["lease_id=%00", "lease_id=%f", "lease_id=%ff"])
async def test_malformed_lease_is_rejected(gateway: Any, query: str) -> None:
    agent = await gateway.create_key(scopes=["cores:register"])
    reply = await gateway.request("DELETE", f"/v1/cores/docs?{query}", f"X-API-Key: {agent.token}")
    assert _errors(reply)[0] == "query"


@pytest.mark.parametrize(
    "raw",
    ["/cores/docs/x?q=\u00eb", "/cores/docs/\u00eb", "/v1/keys/verify?core=\u00eb", "/\u00eb"],
)
async def test_non_ascii_path_is_client_error(gateway: Any, raw: str) -> None:
    key = await gateway.create_key()
    reply = await gateway.request("GET", raw, f"X-API-Key: {key.token}")
    assert reply.status in (400, 404)


async def test_too_many_headers_are_rejected(gateway: Any) -> None:
    reply = await gateway.request(
        "GET", "/healthz", *(f"X-More-{number}: x" for number in range(1000))
    )
    assert reply.status in (400, 431)
    assert (await gateway.request("GET", "/healthz")).status == 200


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
    assert (await gateway.request("GET", VERIFY, header)).status == 401


async def test_no_internal_error_occurred(gateway: Any) -> None:
    assert [
        line
        for line in gateway.lines()
        if line.get("event") == "failure" or line.get("status", 0) >= 500
    ] == []


@pytest.mark.requirement("CG-06")
async def test_cost_0_for_a_limit_of_the_key_is_rejected(gateway: Any) -> None:
    key = await gateway.create_key()
    body = {"token": key.token, "limits": [{"name": "requests", "cost": 0}]}
    reply = await gateway.request("POST", VERIFY, body=json.dumps(body).encode())
    assert _errors(reply) == (
        "body.limits[0].cost",
        "must not be 0 for a limit of the key",
        "send 1 or more, or cost 0 for the whole request",
    )
    reply = await gateway.request("POST", VERIFY, body=json.dumps({**body, "cost": 0}).encode())
    assert (reply.status, reply.json["code"]) == (200, "VALID")
