"""Authentication at the console: denied credentials and their audit events."""

from __future__ import annotations

import pytest
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.services.console.asgi import ENDPOINTS

from tests.runtime.console_client import BOOTSTRAP, Console

WITH_CREDENTIAL = [endpoint for endpoint in ENDPOINTS if endpoint.roles]


def _path(endpoint: Endpoint) -> str:
    return endpoint.path.replace("{id}", "000000000000")


@pytest.mark.parametrize(
    "endpoint", WITH_CREDENTIAL, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}"
)
async def test_request_without_credential_is_401(console: Console, endpoint: Endpoint) -> None:
    del console.client.headers["authorization"]
    reply = await console.client.request(endpoint.method, _path(endpoint))
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="gatehouse"'
    assert reply.json()["code"] == "unauthorized"


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Basic abc", f"Token {BOOTSTRAP}", BOOTSTRAP, "Bearer wrong"],
    ids=["no token", "empty token", "basic", "other scheme", "no scheme", "wrong token"],
)
async def test_malformed_bearer_token_is_rejected(console: Console, header: str) -> None:
    reply = await console.client.get("/v1/keys", headers={"Authorization": header})
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="gatehouse", error="invalid_token"'


async def test_request_with_two_credentials_is_rejected(console: Console) -> None:
    pair = [("Authorization", f"Bearer {BOOTSTRAP}"), ("Authorization", "Bearer other")]
    del console.client.headers["authorization"]
    reply = await console.client.get("/v1/keys", headers=pair)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (
        400,
        "header.authorization",
    )


async def test_admin_key_manages_keys_in_its_own_name(console: Console) -> None:
    admin = await console.create(scopes=["admin"])
    reply = await console.client.post(
        "/v1/keys", json={"name": "by a key"}, headers=console.as_(admin["token"])
    )
    assert reply.status_code == 201
    assert reply.json()["key"]["created_by"] == f"key:{admin['key']['id']}"


async def test_key_without_admin_scope_is_denied(console: Console) -> None:
    created = await console.create(scopes=["cores:read"])
    reply = await console.client.get("/v1/keys", headers=console.as_(created["token"]))
    assert reply.status_code == 403
    assert 'error="insufficient_scope"' in reply.headers["www-authenticate"]


async def test_revoked_admin_key_is_denied_on_the_next_request(console: Console) -> None:
    admin = await console.create(scopes=["admin"])
    await console.client.post(f"/v1/keys/{admin['key']['id']}/revoke")
    assert (
        await console.client.get("/v1/keys", headers=console.as_(admin["token"]))
    ).status_code == 401


async def test_expired_admin_key_is_denied(console: Console) -> None:
    admin = await console.create(scopes=["admin"], ttl_s=60)
    console.expire(admin["key"]["id"])
    assert (
        await console.client.get("/v1/keys", headers=console.as_(admin["token"]))
    ).status_code == 401


@pytest.mark.requirement("TR-05")
async def test_admin_key_of_another_environment_is_denied(console: Console) -> None:
    admin = await console.create(scopes=["admin"], environment="live")
    assert (
        await console.client.get("/v1/keys", headers=console.as_(admin["token"]))
    ).status_code == 401


async def test_known_id_with_another_secret_is_denied(console: Console) -> None:
    admin = await console.create(scopes=["admin"])
    forged = admin["token"][:-7] + ("A" if admin["token"][-7] != "A" else "B")
    reply = await console.client.get("/v1/keys", headers=console.as_(forged + admin["token"][-6:]))
    assert reply.status_code == 401


@pytest.mark.requirement("TR-04")
async def test_methods_of_a_key_apply_at_the_console(console: Console) -> None:
    reader = await console.create(name="read only", scopes=["role:operator"], methods=["GET"])
    assert (
        await console.client.get("/v1/keys", headers=console.as_(reader["token"]))
    ).status_code == 200
    reply = await console.client.post(
        "/v1/keys", json={"name": "a"}, headers=console.as_(reader["token"])
    )
    assert reply.status_code == 401


@pytest.mark.requirement("TR-04")
async def test_addresses_of_a_key_apply_at_the_console(console: Console) -> None:
    for addresses, status in ((["192.0.2.0/24"], 200), (["198.51.100.0/24"], 401)):
        reader = await console.create(
            name="restricted", scopes=["role:operator"], addresses=addresses
        )
        assert (
            await console.client.get("/v1/keys", headers=console.as_(reader["token"]))
        ).status_code == status


@pytest.mark.requirement("TR-04")
async def test_rate_limits_of_a_key_apply_at_the_console(console: Console) -> None:
    limits = [{"name": "requests", "quota": 2, "window_s": 3600}]
    reader = await console.create(name="limited", scopes=["role:operator"], limits=limits)
    session = {"User-Agent": "test"} | console.as_(reader["token"])
    replies = [await console.client.get("/v1/keys", headers=session) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[2].json()["code"] == "rate_limited"
    assert 1700 < int(replies[2].headers["retry-after"]) <= 1800
    assert (await console.client.get("/v1/keys")).status_code == 200


@pytest.mark.requirement("TR-04")
async def test_rate_limits_of_a_key_apply_to_its_sessions(console: Console) -> None:
    limits = [{"name": "requests", "quota": 2, "window_s": 3600}]
    reader = await console.create(name="limited", scopes=["role:operator"], limits=limits)
    begun = await console.client.post("/v1/sessions", json={}, headers=console.as_(reader["token"]))
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
