"""Who may come in, and what refusals look like and leave behind."""

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
async def test_request_without_credential_is_401(door: Console, endpoint: Endpoint) -> None:
    del door.client.headers["authorization"]
    reply = await door.client.request(endpoint.method, _path(endpoint))
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="gatehouse"'
    assert reply.json()["code"] == "unauthorized"


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Basic abc", f"Token {BOOTSTRAP}", BOOTSTRAP, "Bearer wrong"],
    ids=["no token", "empty token", "basic", "other scheme", "no scheme", "wrong token"],
)
async def test_a_header_that_is_no_valid_bearer_token_is_refused(door: Console, header: str) -> None:
    reply = await door.client.get("/v1/keys", headers={"Authorization": header})
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="gatehouse", error="invalid_token"'


async def test_two_credentials_are_one_too_many(door: Console) -> None:
    pair = [("Authorization", f"Bearer {BOOTSTRAP}"), ("Authorization", "Bearer other")]
    del door.client.headers["authorization"]
    reply = await door.client.get("/v1/keys", headers=pair)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, "header.authorization")


async def test_a_key_with_the_scope_admin_manages_keys_in_its_own_name(door: Console) -> None:
    admin = await door.create(scopes=["admin"])
    reply = await door.client.post("/v1/keys", json={"name": "by a key"}, headers=door.as_(admin["token"]))
    assert reply.status_code == 201
    assert reply.json()["key"]["created_by"] == f"key:{admin['key']['id']}"


async def test_a_key_without_the_scope_admin_is_known_but_not_let_in(door: Console) -> None:
    made = await door.create(scopes=["cores:read"])
    reply = await door.client.get("/v1/keys", headers=door.as_(made["token"]))
    assert reply.status_code == 403
    assert 'error="insufficient_scope"' in reply.headers["www-authenticate"]


async def test_a_revoked_admin_key_is_refused_on_the_next_request(door: Console) -> None:
    admin = await door.create(scopes=["admin"])
    await door.client.post(f"/v1/keys/{admin['key']['id']}/revoke")
    assert (await door.client.get("/v1/keys", headers=door.as_(admin["token"]))).status_code == 401


async def test_an_expired_admin_key_is_refused(door: Console) -> None:
    admin = await door.create(scopes=["admin"], ttl_s=60)
    door.expire(admin["key"]["id"])
    assert (await door.client.get("/v1/keys", headers=door.as_(admin["token"]))).status_code == 401


@pytest.mark.requirement("TR-05")
async def test_an_admin_key_of_the_other_environment_is_refused(door: Console) -> None:
    admin = await door.create(scopes=["admin"], environment="live")
    assert (await door.client.get("/v1/keys", headers=door.as_(admin["token"]))).status_code == 401


async def test_a_token_with_another_secret_under_a_known_id_is_refused(door: Console) -> None:
    admin = await door.create(scopes=["admin"])
    forged = admin["token"][:-7] + ("A" if admin["token"][-7] != "A" else "B")
    from_us = door.client.get("/v1/keys", headers=door.as_(forged + admin["token"][-6:]))
    assert (await from_us).status_code == 401


async def test_a_flood_of_refusals_leaves_one_audit_row_a_minute_and_address(door: Console) -> None:
    async def denied() -> int:
        page = (await door.client.get("/v1/audit-events", params={"action": "access.denied", "limit": 500})).json()
        return len(page["events"])

    before = await denied()
    for _ in range(30):
        await door.client.get("/v1/keys", headers=door.as_("wrong"))
    # A minute may turn while this runs: then there are two windows, and the first one's count.
    assert 1 <= await denied() - before <= 3


@pytest.mark.requirement("TR-11")
async def test_every_act_is_in_the_audit_trail_with_who_what_and_from_where(door: Console) -> None:
    key = (await door.create(name="audited"))["key"]
    event = (await door.client.get("/v1/audit-events", params={"target_id": key["id"]})).json()["events"][0]
    assert {name: event[name] for name in ("actor_type", "action", "target_type", "outcome", "source_address")} == {
        "actor_type": "bootstrap",
        "action": "key.create",
        "target_type": "key",
        "outcome": "success",
        "source_address": "192.0.2.7",
    }
    assert event["details"]["name"] == "audited"


async def test_a_reader_of_the_api_can_check_the_whole_chain_alone(door: Console) -> None:
    await door.create()
    events = (await door.client.get("/v1/audit-events", params={"limit": 500})).json()["events"]
    rows = [audit_row(msgspec.convert(event, AuditEventView)) for event in reversed(events)]
    assert rows[0].previous_hash == GENESIS
    assert first_break(rows) is None
