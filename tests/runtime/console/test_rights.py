"""Roles at the console: every route has its row, each role may do what the table says, and none can widen itself."""

from __future__ import annotations

from typing import Any

import pytest
from gatehouse.console.routes import ENDPOINTS
from gatehouse.http.endpoint import CREDENTIAL, Endpoint, StepUp
from gatehouse.identity.models import Role, manages, roles_of

from tests.runtime.console.conftest import Console

WITH_ROLES = [endpoint for endpoint in ENDPOINTS if CREDENTIAL in endpoint.security]
OWN_SESSIONS = {"sign_in", "end_session", "end_sessions"}


@pytest.mark.parametrize("missing", [{"step_up": StepUp.NEVER}, {"roles": frozenset({"owner"})}], ids=["roles", "step-up rule"])
def test_incomplete_declaration_is_an_error(missing: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"POST /v1/x declares no"):
        Endpoint(method="POST", path="/v1/x", tag="x", **missing)


def test_owner_may_do_everything_and_auditor_changes_nothing() -> None:
    assert len(WITH_ROLES) > 30
    assert [endpoint.path for endpoint in WITH_ROLES if Role.OWNER not in endpoint.roles] == []
    changing = [endpoint for endpoint in WITH_ROLES if endpoint.changes_state and endpoint.operation_id not in OWN_SESSIONS]
    assert [endpoint.path for endpoint in changing if Role.AUDITOR in endpoint.roles] == []


@pytest.mark.parametrize("role", list(Role))
async def test_role_may_call_its_endpoints_only(door: Console, role: Role) -> None:
    token = (await door.create(scopes=[f"role:{role.value}"]))["token"]
    denied = set()
    for endpoint in WITH_ROLES:
        path = endpoint.path.replace("{id}", "000000000000")
        reply = await door.client.request(endpoint.method, path, headers=door.as_(token))
        if reply.status_code == 403:
            assert reply.json()["detail"].startswith(f"The credential has the role {role.value}. This operation requires owner")
            denied.add(endpoint.operation_id)
    assert denied == {endpoint.operation_id for endpoint in WITH_ROLES if role not in endpoint.roles}


async def test_a_refusal_by_role_is_in_the_audit_trail(door: Console) -> None:
    token = (await door.create(scopes=["role:issuer"]))["token"]
    door.database.sql("TRUNCATE audit_event")
    await door.client.get("/v1/audit-events", headers=door.as_(token))
    await door.client.get("/v1/audit-events", headers=door.as_(token))
    events = (await door.client.get("/v1/audit-events")).json()["events"]
    assert [(event["action"], event["outcome"]) for event in events] == [("access.denied", "denied")]


@pytest.mark.parametrize("scope", ["admin", "role:owner", "role:operator", "role:issuer", "role:of-tomorrow"])
@pytest.mark.parametrize("role", ["operator", "issuer", "service"])
async def test_nobody_but_an_owner_makes_a_key_that_manages(door: Console, role: str, scope: str) -> None:
    token = (await door.create(scopes=[f"role:{role}"]))["token"]
    wish = {"name": "mine", "scopes": ["cores:read", scope]}
    reply = await door.client.post("/v1/keys", json=wish, headers=door.as_(token))
    assert (reply.status_code, reply.json()["detail"]) == (
        403,
        "Only an owner can create or change a key with the scope admin or a role.",
    )
    assert (await door.client.post("/v1/keys", json={"name": "plain"}, headers=door.as_(token))).status_code == 201


@pytest.mark.parametrize("role", ["operator", "issuer", "service"])
async def test_nobody_but_an_owner_makes_a_key_that_manages_by_what_a_role_grants(door: Console, role: str) -> None:
    token = (await door.create(scopes=[f"role:{role}"]))["token"]
    reply = await door.client.post("/v1/keys", json={"name": "mine", "roles": ["admin"]}, headers=door.as_(token))
    assert (reply.status_code, reply.json()["detail"]) == (
        403,
        "Only an owner can create or change a key with the scope admin or a role.",
    )
    harmless = await door.client.post("/v1/keys", json={"name": "plain", "roles": ["reader"]}, headers=door.as_(token))
    assert harmless.status_code == 201


@pytest.mark.parametrize("wish", [{"scopes": ["role:auditor"]}, {"roles": ["admin"]}])
async def test_an_operator_changes_keys_but_makes_none_that_manages_of_them(door: Console, wish: dict[str, list[str]]) -> None:
    headers = {**door.as_((await door.create(scopes=["role:operator"]))["token"]), "If-Match": "*"}
    plain = (await door.create())["key"]["id"]
    assert (await door.client.patch(f"/v1/keys/{plain}", json=wish, headers=headers)).status_code == 403
    assert (await door.client.patch(f"/v1/keys/{plain}", json={"owner": "me"}, headers=headers)).status_code == 200


@pytest.mark.parametrize("act", ["rotate", "disable", "enable", "end-grace", "restore"])
async def test_an_operator_does_nothing_to_a_key_that_manages(door: Console, act: str) -> None:
    token = (await door.create(scopes=["role:operator"]))["token"]
    target = (await door.create(roles=["admin"]))["key"]["id"]
    assert (await door.client.post(f"/v1/keys/{target}/{act}", headers=door.as_(token))).status_code == 403


async def test_an_auditor_asks_what_a_key_that_manages_may_do(door: Console) -> None:
    token = (await door.create(scopes=["role:auditor"]))["token"]
    target = (await door.create(roles=["admin"]))["key"]["id"]
    reply = await door.client.post(f"/v1/keys/{target}/explain", json={"scopes": ["admin"]}, headers=door.as_(token))
    assert (reply.status_code, reply.json()["code"]) == (200, "VALID")


async def test_nobody_but_an_owner_ends_a_key_that_manages(door: Console) -> None:
    token = (await door.create(scopes=["role:operator"]))["token"]
    for scopes in (["admin"], ["role:auditor"]):
        target = (await door.create(scopes=scopes))["key"]["id"]
        assert (await door.client.post(f"/v1/keys/{target}/revoke", headers=door.as_(token))).status_code == 403
        assert (await door.client.post(f"/v1/keys/{target}/revoke")).status_code == 200
    plain = (await door.create())["key"]["id"]
    assert (await door.client.post(f"/v1/keys/{plain}/revoke", headers=door.as_(token))).status_code == 200


async def test_a_key_without_a_role_is_told_what_it_lacks(door: Console) -> None:
    token = (await door.create(scopes=["cores:read", "role:nonsense"]))["token"]
    reply = await door.client.get("/v1/keys", headers=door.as_(token))
    assert (reply.status_code, reply.json()["detail"].startswith("This key has neither the scope admin nor a role")) == (
        403,
        True,
    )


def test_several_roles_add_up_and_admin_is_an_owner() -> None:
    assert roles_of(["role:issuer", "role:auditor", "cores:read"]) == {Role.ISSUER, Role.AUDITOR}
    assert roles_of(["admin"]) == {Role.OWNER}
    assert not manages(["cores:read", "administrator"])
    assert manages(["role:of-tomorrow"])


async def test_the_api_document_says_who_may_call_what(door: Console) -> None:
    paths = (await door.client.get("/openapi.json")).json()["paths"]
    assert paths["/v1/audit-events"]["get"]["x-roles"] == ["auditor", "operator", "owner"]
