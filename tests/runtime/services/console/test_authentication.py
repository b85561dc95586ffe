"""Authentication at the console."""

from typing import Any

import pytest
from gatehouse.services.console.routes import ENDPOINTS

from tests.runtime.console_client import BOOTSTRAP, Console, outcome, rejected_part

WITH_CREDENTIAL = [endpoint for endpoint in ENDPOINTS if endpoint.roles]


async def test_request_without_credential_is_401(console: Console) -> None:
    assert len(WITH_CREDENTIAL) > 30
    async with console.connect(token="") as client:  # they are no guesses, which are limited
        for endpoint in WITH_CREDENTIAL:
            path = endpoint.path.replace("{id}", "000000000000")
            reply = await client.request(endpoint.method, path)
            assert outcome(reply) == (401, "unauthorized"), endpoint.path
            assert reply.headers["www-authenticate"] == 'Bearer realm="gatehouse"'


@pytest.mark.parametrize("scopes", [["admin"], ["none"]], ids=["accepted", "denied"])
async def test_key_that_is_sent_only_to_the_console_is_used(
    console: Console, scopes: list[str]
) -> None:
    """Also if it is denied, here because it is disabled, so that nobody deletes it as unused."""
    created = await console.create(scopes=scopes)
    key_id = created["key"]["id"]
    assert (await console.get(f"/v1/keys/{key_id}")).json()["last_used_at"] is None
    if scopes == ["none"]:
        await console.post(f"/v1/keys/{key_id}/disable", json={})
    await console.get("/v1/keys", headers=console.as_(created["token"]))
    assert (await console.get(f"/v1/keys/{key_id}")).json()["last_used_at"] is not None


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Basic abc", f"Token {BOOTSTRAP}", BOOTSTRAP, "Bearer wrong"],
    ids=["no token", "empty token", "basic", "other scheme", "no scheme", "wrong token"],
)
async def test_malformed_bearer_token_is_rejected(console: Console, header: str) -> None:
    reply = await console.get("/v1/keys", headers={"Authorization": header})
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="gatehouse", error="invalid_token"'


async def test_request_with_two_credentials_is_rejected(console: Console) -> None:
    pair = [("Authorization", f"Bearer {BOOTSTRAP}"), ("Authorization", "Bearer other")]
    del console.client.headers["authorization"]
    reply = await console.get("/v1/keys", headers=pair)
    assert rejected_part(reply) == (400, "header.authorization")


async def test_admin_key_manages_keys_in_its_own_name(console: Console) -> None:
    admin = await console.create(scopes=["admin"])
    reply = await console.post(
        "/v1/keys", json={"name": "by a key"}, headers=console.as_(admin["token"])
    )
    assert reply.status_code == 201
    assert reply.json()["key"]["created_by"] == f"key:{admin['key']['id']}"


@pytest.mark.parametrize(
    ("properties", "change"),
    [
        ({}, "state = 'revoked', revoked_at = now()"),
        ({}, "expires_at = now() - interval '1 second'"),
        ({}, "digest = decode(repeat('00', 32), 'hex')"),
        ({"environment": "live"}, ""),
        ({"methods": ["POST"]}, ""),
        ({"addresses": ["198.51.100.0/24"]}, ""),
        ({"public_key": f"{'A' * 43}="}, ""),
    ],
    ids=["revoked", "expired", "another secret", "environment", "method", "address", "signature"],
)
async def test_decision_of_the_gateway_applies_to_credentials(
    console: Console, properties: dict[str, Any], change: str
) -> None:
    permitted = {"methods": ["GET"], "addresses": ["192.0.2.0/24"]}
    for restrictions, status in ((permitted, 200), (permitted | properties, 401)):
        admin = await console.create(scopes=["admin"], **restrictions)
        if status == 401 and change:
            console.sql(f"UPDATE api_key SET {change} WHERE id = '{admin['key']['id']}'")  # noqa: S608
        reply = await console.get("/v1/keys", headers=console.as_(admin["token"]))
        assert reply.status_code == status


async def test_rate_limits_of_a_key_apply_at_the_console(console: Console) -> None:
    limits = [{"name": "requests", "quota": 2, "window_s": 3600}]
    reader = await console.create(name="limited", scopes=["role:operator"], limits=limits)
    session = {"User-Agent": "test"} | console.as_(reader["token"])
    replies = [await console.get("/v1/keys", headers=session) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[2].json()["code"] == "rate_limited"
    assert 1700 < int(replies[2].headers["retry-after"]) <= 1800
    assert (await console.get("/v1/keys")).status_code == 200


async def test_rate_limits_of_a_key_apply_to_its_sessions(console: Console) -> None:
    limits = [{"name": "requests", "quota": 2, "window_s": 3600}]
    reader = await console.create(name="limited", scopes=["role:operator"], limits=limits)
    begun = await console.post("/v1/sessions", json={}, headers=console.as_(reader["token"]))
    assert begun.status_code == 201
    headers = {
        "Cookie": begun.headers["set-cookie"].partition(";")[0],
        "Sec-Fetch-Site": "same-origin",
    }
    async with console.connect(token="") as browser:
        assert [(await browser.get("/v1/keys", headers=headers)).status_code for _ in range(3)] == [
            200,
            200,
            429,
        ]
