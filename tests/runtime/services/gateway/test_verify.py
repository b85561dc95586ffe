"""POST and GET /v1/keys/verify at a running gateway."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.runtime.services.gateway.conftest import limit

NULL_FIELDS = ("key_id", "name", "customer_id", "environment", "scopes", "expires_at")
ONE = limit(3)


async def test_valid_key_is_described(gateway: Any) -> None:
    key = await gateway.create_key(
        expires_at=datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC), limits=[ONE]
    )
    reply = await gateway.verify(key.token, scopes=["cores:read"])
    result = reply.json
    assert reply.status == 200
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", result.pop("decided_at"))
    assert result.pop("request_id") == reply.header("x-request-id")
    assert 0 <= result.pop("staleness_ms") < 3000
    (limit,) = result.pop("limits")
    assert 1199 <= limit.pop("reset_s") <= 1200
    assert limit == {
        "name": "requests",
        "limit": 3,
        "window_s": 3600,
        "remaining": 2,
        "exceeded": False,
        "degraded": False,
    }
    assert result == {
        "valid": True,
        "code": "VALID",
        "key_id": key.id,
        "name": "reader",
        "customer_id": "team-a",
        "environment": "test",
        "scopes": ["cores:read"],
        "expires_at": "2099-01-02T03:04:05.000Z",
        "credits": None,
        "shared_credits": None,
        "reason": None,
    }


async def test_rate_limit_headers(gateway: Any) -> None:
    key = await gateway.create_key(
        limits=[ONE, {"name": "daily", "quota": 10, "window_s": 86400, "burst": 10}]
    )
    reply = await gateway.verify(key.token)
    assert reply.header("ratelimit-policy") == '"requests";q=3;w=3600, "daily";q=10;w=86400'
    assert reply.header("ratelimit") == '"requests";r=2;t=1200, "daily";r=9;t=8640'


async def test_wrong_secret_looks_like_unknown_key(gateway: Any) -> None:
    known, other = await gateway.create_key(), await gateway.create_key()
    await gateway.pool.execute("UPDATE api_key SET digest = $2 WHERE id = $1", known.id, bytes(32))
    unknown = other.token
    await gateway.pool.execute("UPDATE api_key SET id = 'moved0000000' WHERE id = $1", other.id)
    results = [(await gateway.verify(token)).json for token in (known.token, unknown)]
    for result in results:
        for name in ("decided_at", "request_id", "staleness_ms"):
            result.pop(name)
    assert results[0] == results[1]
    assert results[0]["code"] == "NOT_FOUND"


async def test_rate_limited_response_has_retry_after(gateway: Any) -> None:
    key = await gateway.create_key(limits=[ONE])
    for _ in range(3):
        assert (await gateway.verify(key.token)).json["valid"]
    reply = await gateway.verify(key.token)
    assert reply.outcome == (200, "RATE_LIMITED")
    assert reply.json["limits"][0]["exceeded"]
    wait_s = int(reply.header("retry-after"))
    assert 1100 < wait_s <= 1200  # since the first request
    assert reply.header("ratelimit") == f'"requests";r=0;t={wait_s}'


async def test_denied_request_consumes_no_limit(gateway: Any) -> None:
    key = await gateway.create_key(limits=[ONE])
    for _ in range(5):
        await gateway.verify(key.token, scopes=["admin"])
    assert (await gateway.verify(key.token)).json["limits"][0]["remaining"] == 2


async def test_key_without_limits_gets_default(gateway: Any) -> None:
    key = await gateway.create_key(limits=[])
    assert (await gateway.verify(key.token)).header("ratelimit-policy") == '"requests";q=600;w=60'


async def test_revoked_key_looks_unknown_on_next_request(gateway: Any) -> None:
    key = await gateway.create_key()
    assert (await gateway.verify(key.token)).json["valid"]
    await gateway.revoke(key)
    result = (await gateway.verify(key.token)).json
    assert result["code"] == "NOT_FOUND"
    assert [result[name] for name in NULL_FIELDS] == [None] * 6


async def test_header_verification_returns_the_decision_as_the_status(gateway: Any) -> None:
    key = await gateway.create_key(limits=[ONE])
    reply = await gateway.get("/v1/keys/verify?scope=cores:read", key.bearer)
    assert (reply.status, reply.body, reply.header("gatehouse-key-id")) == (200, b"", key.id)
    denied = [
        await gateway.get("/v1/keys/verify?scope=admin", key.header),
        await gateway.get("/v1/keys/verify", "X-API-Key: nonsense"),
        await gateway.get("/v1/keys/verify"),
    ]
    for _ in range(2):
        await gateway.verify(key.token)
    denied += [await gateway.get("/v1/keys/verify", key.header) for _ in range(2)]
    assert [(reply.status, reply.json["status"], reply.json["code"]) for reply in denied] == [
        (403, 403, "INSUFFICIENT_PERMISSIONS"),
        (401, 401, "NOT_FOUND"),
        (401, 401, "unauthorized"),
        *[(429, 429, "RATE_LIMITED")] * 2,
    ]
    assert {reply.header("content-type") for reply in denied} == {"application/problem+json"}


@pytest.mark.parametrize(
    ("query", "method", "status"),
    [
        ("", "GET", 200),
        ("", "DELETE", 403),
        ("", "GET\r\nX-Forwarded-Method: DELETE", 403),
        ("?scope=cores:read", "DELETE", 403),
        ("?method=GET", "DELETE", 200),
    ],
)
async def test_forwarded_method_is_verified(
    gateway: Any, query: str, method: str, status: int
) -> None:
    key = await gateway.create_key(methods=["GET"])
    headers = (key.header, f"X-Forwarded-Method: {method}")
    assert (await gateway.get(f"/v1/keys/verify{query}", *headers)).status == status


async def test_same_token_in_both_headers_is_accepted(gateway: Any) -> None:
    key = await gateway.create_key()
    for headers, status in (
        ((key.bearer, key.header), 200),
        ((key.bearer, f"{key.header}x"), 400),
        ((key.header, "X-API-Key: other"), 400),
        ((key.bearer, "Authorization: Bearer other"), 400),
    ):
        assert (await gateway.get("/v1/keys/verify", *headers)).status == status


async def test_every_401_has_one_challenge(gateway: Any) -> None:
    missing = await gateway.get("/v1/keys/verify")
    assert (missing.status, missing.all("www-authenticate")) == (401, ['Bearer realm="gatehouse"'])
    wrong = await gateway.get("/v1/keys/verify", "X-API-Key: nonsense")
    assert wrong.all("www-authenticate") == ['Bearer realm="gatehouse", error="invalid_token"']


async def test_pages_of_every_origin_can_verify_keys(gateway: Any) -> None:
    page, key = "Origin: https://page.test", await gateway.create_key()
    asks = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
    preflight = await gateway.request("OPTIONS", "/v1/keys/verify", page, *asks)
    assert preflight.status == 204
    assert preflight.header("access-control-allow-methods") == "POST"
    assert preflight.header("access-control-allow-headers") == "content-type"
    not_ascii = [f"{header}\xe9" for header in asks]
    assert (await gateway.request("OPTIONS", "/v1/keys/verify", page, *not_ascii)).status == 204
    body = json.dumps({"token": key.token}).encode()
    replies = [preflight]
    for _ in range(3):
        replies.append(await gateway.request("POST", "/v1/keys/verify", page, body=body))
        header = key.header
        replies.append(await gateway.get("/v1/keys/verify", page, header))
    assert {reply.status for reply in replies[1:]} == {200}
    replies.append(await gateway.request("POST", "/v1/keys/verify", page, body=b"{"))
    replies.append(await gateway.get("/v1/keys/verify", page))
    assert {reply.header("access-control-allow-origin") for reply in replies} == {"*"}
    assert {reply.header("access-control-allow-credentials") for reply in replies} == {None}
    for others in (
        await gateway.request("POST", "/v1/keys/verify", body=body),
        await gateway.request("OPTIONS", "/v1/keys/verify"),
        await gateway.get("/healthz", page),
    ):
        assert others.header("access-control-allow-origin") is None
