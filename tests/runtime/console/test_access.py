"""Authentication at the console: denied credentials and their audit events."""

from __future__ import annotations

import msgspec
import pytest
from gatehouse.audit.chain import GENESIS, first_break
from gatehouse.audit.schemas import AuditEventView, audit_row
from gatehouse.console.routes import ENDPOINTS
from gatehouse.http.endpoint import CREDENTIAL, Endpoint

from tests.runtime.console.conftest import BOOTSTRAP, Console

WITH_CREDENTIAL = [endpoint for endpoint in ENDPOINTS if CREDENTIAL in endpoint.security]


def _path(endpoint: Endpoint) -> str:
    return endpoint.path.replace("{id}", "000000000000")


@pytest.mark.parametrize("endpoint", WITH_CREDENTIAL, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
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
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, "header.authorization")


async def test_admin_key_manages_keys_in_its_own_name(console: Console) -> None:
    admin = await console.create(scopes=["admin"])
    reply = await console.client.post("/v1/keys", json={"name": "by a key"}, headers=console.as_(admin["token"]))
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
    assert (await console.client.get("/v1/keys", headers=console.as_(admin["token"]))).status_code == 401


async def test_expired_admin_key_is_denied(console: Console) -> None:
    admin = await console.create(scopes=["admin"], ttl_s=60)
    console.expire(admin["key"]["id"])
    assert (await console.client.get("/v1/keys", headers=console.as_(admin["token"]))).status_code == 401


@pytest.mark.requirement("TR-05")
async def test_admin_key_of_another_environment_is_denied(console: Console) -> None:
    admin = await console.create(scopes=["admin"], environment="live")
    assert (await console.client.get("/v1/keys", headers=console.as_(admin["token"]))).status_code == 401


async def test_known_id_with_another_secret_is_denied(console: Console) -> None:
    admin = await console.create(scopes=["admin"])
    forged = admin["token"][:-7] + ("A" if admin["token"][-7] != "A" else "B")
    from_us = console.client.get("/v1/keys", headers=console.as_(forged + admin["token"][-6:]))
    assert (await from_us).status_code == 401


async def test_denials_share_an_audit_row_per_minute_and_address(console: Console) -> None:
    async def denied() -> int:
        page = (await console.client.get("/v1/audit-events", params={"action": "access.denied", "limit": 500})).json()
        return len(page["events"])

    before = await denied()
    for _ in range(30):
        await console.client.get("/v1/keys", headers=console.as_("wrong"))
    # If a minute ends during the test, there are two windows.
    assert 1 <= await denied() - before <= 3


@pytest.mark.requirement("TR-11")
async def test_every_change_is_audited_with_actor_and_address(console: Console) -> None:
    key = (await console.create(name="audited"))["key"]
    event = (await console.client.get("/v1/audit-events", params={"target_id": key["id"]})).json()["events"][0]
    assert {name: event[name] for name in ("actor_type", "action", "target_type", "outcome", "source_address")} == {
        "actor_type": "bootstrap",
        "action": "key.create",
        "target_type": "key",
        "outcome": "success",
        "source_address": "192.0.2.7",
    }
    assert event["details"]["name"] == "audited"


async def test_chain_is_verified_from_the_api_response(console: Console) -> None:
    await console.create()
    events = (await console.client.get("/v1/audit-events", params={"limit": 500})).json()["events"]
    rows = [audit_row(msgspec.convert(event, AuditEventView)) for event in reversed(events)]
    assert rows[0].previous_hash == GENESIS
    assert first_break(rows) is None
