"""Limits for subjects without a key."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from gatehouse.core.audit_events import AuditAction
from gatehouse.features.customers.schemas import CreateLimit, fields_of
from gatehouse.features.customers.service import LimitService
from gatehouse.platform.db.pool import Pool
from valkey import Valkey

from sandbox.local import servers
from tests.runtime.services.gateway.conftest import OPERATOR, Gateway, Key, Reply, key_service


@pytest.fixture
def limits(module_pool: Pool) -> LimitService:
    return LimitService.of(module_pool, key_service(module_pool))


@pytest.fixture
async def service(gateway: Gateway) -> Key:
    return await gateway.create_key(scopes=["role:service"])


async def limit_of(limits: LimitService, quota: int) -> str:
    name = f"l{uuid.uuid4().hex}"
    await create(limits, name, quota)
    return name


async def create(limits: LimitService, name: str, quota: int) -> None:
    settings = fields_of(CreateLimit(name=name, quota=quota, window_s=3600))
    await limits.create({**settings, "burst": quota, "is_deleted": False}, OPERATOR)


async def post(gateway: Gateway, path: str, body: object, *headers: str) -> Reply:
    target, text = f"/v1/limits/{path}", json.dumps(body).encode()
    return await gateway.request("POST", target, *headers, body=text)


async def take(gateway: Gateway, key: Key, name: str, subject: str, **more: Any) -> Reply:
    body = {"subject": subject, **more}
    return await post(gateway, f"{name}/take", body, key.bearer)


async def test_each_subject_has_the_limit(
    gateway: Gateway, limits: LimitService, service: Key
) -> None:
    name = await limit_of(limits, 3)
    for subject in ("user 1", "användare@example.com"):
        replies = [await take(gateway, service, name, subject) for _ in range(4)]
        assert [reply.json["allowed"] for reply in replies] == [True, True, True, False]
        assert [reply.status for reply in replies] == [200] * 4
        assert replies[0].header("ratelimit") == f'"{name}";r=2;t=1200'
        assert replies[3].header("retry-after") is not None
        assert replies[3].json["limits"][0]["exceeded"]


async def test_cost_and_dry_run(gateway: Gateway, limits: LimitService, service: Key) -> None:
    name = await limit_of(limits, 10)
    for more, allowed, remaining in (
        ({"cost": 4}, True, 6),
        ({"cost": 7}, False, 6),
        ({"cost": 6, "dry_run": True}, True, 6),
        ({"cost": 0}, True, 6),
        ({"cost": 6}, True, 0),
        ({"dry_run": True}, False, 0),
    ):
        reply = (await take(gateway, service, name, "a", **more)).json
        assert (reply["allowed"], reply["limits"][0]["remaining"]) == (allowed, remaining), more


async def test_several_limits_count_together_or_not_at_all(
    gateway: Gateway, limits: LimitService, service: Key
) -> None:
    small, large = await limit_of(limits, 2), await limit_of(limits, 100)
    takes = [
        {"limit": small, "subject": "user"},
        {"limit": large, "subject": "user", "cost": 10},
        {"limit": large, "subject": "tenant"},
    ]
    replies = [
        (await post(gateway, "take", {"takes": takes}, service.bearer)).json for _ in range(3)
    ]
    assert [reply["allowed"] for reply in replies] == [True, True, False]
    assert [each["remaining"] for each in replies[2]["limits"]] == [0, 80, 98]


async def test_changed_and_deleted_limit(
    gateway: Gateway, limits: LimitService, service: Key
) -> None:
    name = await limit_of(limits, 1)
    missing = await take(gateway, service, f"x{name}", "a")
    assert missing.outcome == (404, "not_found")
    assert (await take(gateway, service, name, "a")).json["allowed"]
    await limits.update(name, {"quota": 50, "burst": 50}, OPERATOR, version=None)
    assert (await take(gateway, service, name, "b", cost=50)).json["allowed"]
    await limits.delete(name, OPERATOR)
    async with asyncio.timeout(60):
        while (await take(gateway, service, name, "c")).status != 404:
            await asyncio.sleep(0.01)
    await create(limits, name, 2)
    async with asyncio.timeout(60):
        while (await take(gateway, service, name, "c", dry_run=True)).status == 404:
            await asyncio.sleep(0.01)
    assert (await take(gateway, service, name, "c")).json["limits"][0]["limit"] == 2
    statement = "SELECT count(*) FROM audit_event WHERE target_id = $1 AND action = $2"
    deleted = AuditAction.LIMIT_DELETE.value
    assert await gateway.pool.fetchval(statement, name, deleted) == 1


@pytest.mark.parametrize(
    ("scopes", "status"), [(["cores:read"], 403), (["role:operator"], 403), (None, 401)]
)
async def test_only_a_service_takes(
    gateway: Gateway, limits: LimitService, scopes: list[str] | None, status: int
) -> None:
    name = await limit_of(limits, 1)
    headers = [] if scopes is None else [(await gateway.create_key(scopes=scopes)).bearer]
    reply = await post(gateway, f"{name}/take", {"subject": "a"}, *headers)
    assert reply.status == status


@pytest.mark.parametrize(
    ("path", "body", "location"),
    [
        ("{}/take", {}, "body.subject"),
        ("{}/take", {"subject": ""}, "body.subject"),
        ("{}/take", {"subject": "a" * 257}, "body.subject"),
        ("{}/take", {"subject": "a", "cost": -1}, "body.cost"),
        ("{}/take", {"subject": "a", "limit": "b"}, "body.limit"),
        ("take", {"takes": []}, "body.takes"),
        ("take", {"takes": [{"limit": "a", "subject": "b"}] * 2}, "body.takes"),
        ("take", {"takes": [{"limit": "A", "subject": "b"}]}, "body.takes[0].limit"),
    ],
)
async def test_bad_input_is_named(
    gateway: Gateway,
    limits: LimitService,
    service: Key,
    path: str,
    body: dict[str, Any],
    location: str,
) -> None:
    name = await limit_of(limits, 1)
    reply = await post(gateway, path.format(name), body, service.bearer)
    assert (reply.status, reply.json["errors"][0]["location"]) == (400, location)


async def test_names_of_subjects_are_not_stored(
    gateway: Gateway, limits: LimitService, service: Key, redis_url: str
) -> None:
    name, subject = await limit_of(limits, 1), f"person-{uuid.uuid4().hex}"
    await take(gateway, service, name, subject)
    with Valkey.from_url(servers.administrator(redis_url)) as client:
        names = [key.decode() for key in client.keys("*")]
    assert any(name in key for key in names)
    assert not any(subject in key for key in names)
    assert subject not in gateway.log.read_text()
