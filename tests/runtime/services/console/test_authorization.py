"""Roles at the console."""

import asyncio
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gatehouse.core.roles import Role, manages, roles_of
from gatehouse.platform.semaphores import RequestLimits
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.services.console import pipeline
from gatehouse.services.console.routes import ENDPOINTS

from tests.runtime.conftest import locked
from tests.runtime.console_client import Console
from tests.runtime.rows import usage_row

WITH_ROLES = [endpoint for endpoint in ENDPOINTS if endpoint.roles]


def test_roles_equal_the_independent_table() -> None:
    path = Path(__file__).with_name("roles.toml")
    table = {name: set(row["operations"]) for name, row in tomllib.loads(path.read_text()).items()}
    everyone = table.pop("everyone")
    table[Role.OWNER.value] = {endpoint.operation_id for endpoint in WITH_ROLES}
    for role in Role:
        declared = {row.operation_id for row in WITH_ROLES if role.value in row.roles}
        assert declared == table[role.value] | everyone, (
            f"check that {role.value} may call these operations, then change {path.name}"
        )
    assert len(WITH_ROLES) > 40


@pytest.mark.parametrize("role", list(Role))
async def test_role_may_call_its_endpoints_only(console: Console, role: Role) -> None:
    token = (await console.create(scopes=[role.scope]))["token"]
    denied = set()
    for endpoint in WITH_ROLES:
        path = endpoint.path.replace("{id}", "000000000000")
        reply = await console.request(endpoint.method, path, headers=console.as_(token))
        if reply.status_code == 403:
            assert reply.json()["detail"].startswith(
                "This operation requires one of the following roles: owner"
            )
            denied.add(endpoint.operation_id)
    assert denied == {
        endpoint.operation_id for endpoint in WITH_ROLES if role not in endpoint.roles
    }


async def test_denial_by_role_is_audited(console: Console) -> None:
    token = (await console.create(scopes=["role:issuer"]))["token"]
    console.sql("TRUNCATE audit_event")
    await console.get("/v1/audit-events", headers=console.as_(token))
    await console.get("/v1/audit-events", headers=console.as_(token))
    events = await console.events()
    assert [(event["action"], event["outcome"]) for event in events] == [
        ("access.denied", "denied")
    ]


@pytest.mark.parametrize("role", ["operator", "issuer", "service"])
async def test_only_an_owner_creates_an_admin_key(console: Console, role: str) -> None:
    headers = console.as_((await console.create(scopes=[f"role:{role}"]))["token"])
    scopes = ("admin", "role:owner", "role:operator", "role:issuer", "role:of-tomorrow")
    for scope in scopes:
        reply = await console.post(
            "/v1/keys", json={"name": "mine", "scopes": ["cores:read", scope]}, headers=headers
        )
        assert reply.status_code == 403, scope
        assert reply.json()["detail"].startswith("Only an owner can create or change a key")
    reply = await console.post("/v1/keys", json={"name": "plain"}, headers=headers)
    assert reply.status_code == 201


async def test_operator_cannot_turn_a_key_into_an_admin_key(console: Console) -> None:
    headers = {
        **console.as_((await console.create(scopes=["role:operator"]))["token"]),
        "If-Match": "*",
    }
    plain = await console.create_id()
    for changes, status in (({"scopes": ["role:auditor"]}, 403), ({"notes": "mine"}, 200)):
        reply = await console.patch(f"/v1/keys/{plain}", json=changes, headers=headers)
        assert reply.status_code == status


@pytest.mark.parametrize("action", ["rotate", "disable", "enable", "revoke", "restore", ""])
@pytest.mark.parametrize("locked", [False, True])
async def test_operator_cannot_change_an_admin_key(
    console: Console, monkeypatch: pytest.MonkeyPatch, action: str, locked: bool
) -> None:
    if locked:
        monkeypatch.setattr(pipeline, "check_reach", lambda *_: None)
    headers = console.as_((await console.create(scopes=["role:operator"]))["token"])
    path = f"/v1/keys/{(await console.create(scopes=['admin']))['key']['id']}"
    if action:
        reply = await console.post(f"{path}/{action}", headers=headers)
    else:
        headers["If-Match"] = "*"
        reply = await console.patch(path, json={"notes": "mine"}, headers=headers)
    assert reply.status_code == 403


@pytest.mark.parametrize(
    ("changed", "change", "status"),
    [
        ("target", {"scopes": ["admin"]}, 403),
        ("operator", {"scopes": ["role:auditor"]}, 403),
        ("operator", None, 401),
    ],
)
async def test_rights_are_those_after_the_body(
    console: Console, changed: str, change: dict[str, Any] | None, status: int
) -> None:
    operator, target = await console.create(scopes=["role:operator"]), await console.create()
    key = f"/v1/keys/{(operator if changed == 'operator' else target)['key']['id']}"

    async def body() -> AsyncIterator[bytes]:
        if change is None:
            await console.post(f"{key}/revoke")
        else:
            await console.patch(key, json=change, headers={"If-Match": "*"})
        yield b"{}"

    headers = {**console.as_(operator["token"]), "Content-Type": "application/json"}
    path = f"/v1/keys/{target['key']['id']}/rotate"
    reply = await console.post(path, content=body(), headers=headers)
    assert reply.status_code == status


async def test_rights_are_those_after_the_wait_for_other_requests(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, began = RequestLimits.request, asyncio.Semaphore(0)

    def counted(limits: RequestLimits, owner: str) -> Any:
        began.release()
        return begin(limits, owner)

    monkeypatch.setattr(RequestLimits, "request", counted)
    auditor = await console.create(scopes=["role:auditor"])
    async with locked(console.database, "usage_count"):
        get = partial(console.get, "/v1/usage", headers=console.as_(auditor["token"]))
        reads = [asyncio.create_task(get()) for _ in range(pipeline.CALLER_REQUESTS_MAX + 1)]
        for _ in reads:
            await began.acquire()
        await console.post(f"/v1/keys/{auditor['key']['id']}/revoke")
    statuses = Counter([(await read).status_code for read in reads])
    assert statuses == {200: pipeline.CALLER_REQUESTS_MAX, 401: 1}


@pytest.mark.parametrize("scopes", [["cores:read"], ["cores:read", "role:nonsense"]])
async def test_key_without_role_is_denied_with_missing_role(
    console: Console, scopes: list[str]
) -> None:
    token = (await console.create(scopes=scopes))["token"]
    reply = await console.get("/v1/keys", headers=console.as_(token))
    assert reply.status_code == 403
    assert reply.json()["detail"].startswith("This key grants no console role")
    assert 'error="insufficient_scope"' in reply.headers["www-authenticate"]


def test_roles_are_combined_and_admin_is_owner() -> None:
    assert roles_of(["role:issuer", "role:auditor", "cores:read"]) == {Role.ISSUER, Role.AUDITOR}
    assert roles_of(["admin"]) == {Role.OWNER}
    assert not manages(["cores:read", "administrator"])
    assert manages(["role:of-tomorrow"])


async def test_service_reaches_only_keys_that_it_created(console: Console) -> None:
    async def status(method: str, path: str, token: str) -> int:
        body: dict[str, str] | None = {} if method == "POST" else None
        return (
            await console.request(method, f"/v1/keys/{path}", json=body, headers=console.as_(token))
        ).status_code

    portal = await console.create(name="portal", scopes=["role:service"])
    other = await console.create(name="other portal", scopes=["role:service"])
    foreign = await console.create_id(name="foreign")
    reply = await console.post(
        "/v1/keys", json={"name": "own"}, headers=console.as_(portal["token"])
    )
    own = reply.json()["key"]["id"]
    permitted = [
        endpoint
        for endpoint in ENDPOINTS
        if "{id}" in endpoint.path and Role.SERVICE in endpoint.roles
    ]
    assert permitted
    for endpoint in permitted:
        path = endpoint.path.partition("{id}")[2]
        assert await status(endpoint.method, foreign + path, portal["token"]) == 404, path
        assert await status(endpoint.method, own + path, other["token"]) == 404, path
    assert (await console.get(f"/v1/keys/{foreign}")).json()["state"] == "active"
    assert await status("GET", own, portal["token"]) == 200
    rotated = await console.post(
        f"/v1/keys/{own}/rotate", json={"grace_s": 60}, headers=console.as_(portal["token"])
    )
    assert rotated.status_code == 201
    successor = rotated.json()["key"]["id"]
    assert await status("GET", successor, portal["token"]) == 200
    # The successor of the service's own key can still manage the keys that the service created.
    reply = await console.post(f"/v1/keys/{portal['key']['id']}/rotate", json={"grace_s": 60})
    assert await status("POST", f"{successor}/revoke", reply.json()["token"]) == 200


@pytest.mark.parametrize("creator", ["service", "owner"])
async def test_service_reaches_only_customers_that_it_created(
    console: Console, creator: str
) -> None:
    portal = await console.create(name="portal", scopes=["role:service"])
    other = await console.create(name="other portal", scopes=["role:service"])
    own, foreign = (f"{name}-{portal['key']['id']}" for name in ("own", "foreign"))
    maker = console.as_(other["token"]) if creator == "service" else {}
    for id, headers in ((own, console.as_(portal["token"])), (foreign, maker)):
        # The name of the foreign customer is the ID of the own customer.
        reply = await console.post("/v1/customers", json={"id": id, "name": own}, headers=headers)
        assert reply.status_code == 201
    foreign_key = await console.create_id(customer_id=foreign)
    own_key = await console.create_id(customer_id=own)
    await console.create_id(name=own)
    for key_id, count in ((own_key, 3), (foreign_key, 40)):
        console.sql(usage_row(key_id, count, width_s=3600))
    # The successor of the key of the service has the same customers.
    rotated = await console.post(f"/v1/keys/{portal['key']['id']}/rotate", json={"grace_s": 60})
    headers = {**console.as_(rotated.json()["token"]), "If-Match": "*"}
    permitted = [
        endpoint
        for endpoint in ENDPOINTS
        if "{customer}" in endpoint.path and Role.SERVICE in endpoint.roles
    ]
    assert permitted
    body: Any
    for id, found in ((foreign, False), ("nobody", False), (own, True)):
        for endpoint in permitted:
            body = {"PATCH": {"notes": "changed"}, "POST": {}}.get(endpoint.method)
            path = endpoint.path.replace("{customer}", id)
            reply = await console.request(endpoint.method, path, json=body, headers=headers)
            assert (reply.status_code < 300) == found, (path, reply.text)
            assert found or reply.status_code == 404
            await console.post(f"/v1/customers/{own}/enable")
    unchanged = (await console.get(f"/v1/customers/{foreign}")).json()
    assert (unchanged["notes"], unchanged["state"]) == ("", "active")
    listed = (await console.get("/v1/customers?total=true", headers=headers)).json()
    assert ([each["id"] for each in listed["customers"]], listed["total"]) == ([own], 1)
    for query in ("", f"&customer={own}", f"&search={own}"):
        keys = (await console.get(f"/v1/keys?total=true{query}", headers=headers)).json()
        assert ([each["id"] for each in keys["keys"]], keys["total"]) == ([own_key], 1)
    reply = await console.get(f"/v1/keys?customer={foreign}", headers=headers)
    assert reply.status_code == 400
    # Keys of its customers, whoever created them.
    for key_id, expected in ((own_key, 200), (foreign_key, 404)):
        path, body = f"/v1/keys/{key_id}", {"notes": "changed"}
        assert (await console.patch(path, json=body, headers=headers)).status_code == expected
        assert (await console.post(f"{path}/disable", headers=headers)).status_code == expected
    for customer, status in ((own, 200), (foreign, 400)):
        body = {"customer_id": customer}
        reply = await console.patch(f"/v1/keys/{own_key}", json=body, headers=headers)
        assert reply.status_code == status, reply.text
    for query in ("", f"?customer={own}", f"?key={own_key}", "?by=key,customer"):
        usage = (await console.get(f"/v1/usage{query}", headers=headers)).json()
        assert usage["total"] == 3, query
    for query in (f"?customer={foreign}", f"?key={foreign_key}"):
        assert (await console.get(f"/v1/usage{query}", headers=headers)).status_code == 400
    for customer, status in ((own, 201), (foreign, 400), (f"new-{own}", 201)):
        body = {"name": "a", "customer_id": customer, "create_customer": True}
        reply = await console.post("/v1/keys", json=body, headers=headers)
        assert reply.status_code == status, reply.text


async def _handler() -> None: ...


@pytest.mark.parametrize(
    "missing",
    [{"step_up": StepUp.NEVER}, {"roles": frozenset({Role.OWNER})}],
    ids=["roles", "step-up rule"],
)
def test_incomplete_declaration_is_an_error(missing: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"POST /v1/x declares no"):
        Endpoint("POST", "/v1/x", _handler, tag="x", **missing)
