"""Keys of customers: state, plan, shared limits and shared credits."""

import asyncio
import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from gatehouse.core.keys import Credits, Refill, UpdateCredits
from gatehouse.core.roles import Role
from gatehouse.features.customers.repository import CustomerRepository
from gatehouse.features.customers.schemas import CreateCustomer, CreatePlan, fields_of
from gatehouse.features.customers.service import CustomerAction, CustomerService, PlanService
from gatehouse.features.keys.schemas import RateLimitInput
from gatehouse.platform.db.pool import Pool

from tests.runtime.services.gateway.conftest import (
    OPERATOR,
    Gateway,
    Key,
    applied,
    key_service,
    limit,
)

BURST = RateLimitInput(name="requests", quota=5, window_s=3600)


@dataclass
class Customers:
    gateway: Gateway
    customers: CustomerService
    plans: PlanService

    async def plan(self, **settings: Any) -> str:
        name = f"p{uuid.uuid4().hex}"
        await self.plans.create(fields_of(CreatePlan(name=name, **settings)), OPERATOR)
        return name

    async def customer(self, **settings: Any) -> str:
        id = uuid.uuid4().hex
        await self.customers.create(CreateCustomer(id=id, **settings), OPERATOR)
        return id

    async def key(self, customer_id: str, **columns: Any) -> Key:
        return await self.gateway.create_key(customer_id=customer_id, **columns)

    async def inheriting(self, customer_id: str) -> Key:
        columns = {"limits": [], "scopes": [], "inherits": ["limits", "scopes"]}
        return await self.key(customer_id, **columns)


@pytest.fixture
def customers(gateway: Gateway, module_pool: Pool) -> Customers:
    keys = key_service(module_pool)
    return Customers(
        gateway,
        CustomerService(CustomerRepository(module_pool), keys),
        PlanService.of(module_pool, keys),
    )


async def codes(gateway: Gateway, *keys: Key) -> list[str]:
    return [await gateway.code(key.token) for key in keys]


async def test_state_of_the_customer_applies_to_all_of_its_keys(customers: Customers) -> None:
    gateway, id = customers.gateway, await customers.customer()
    keys, other = [await customers.key(id) for _ in range(3)], await gateway.create_key()
    assert await codes(gateway, *keys) == ["VALID"] * 3
    for action, code in (
        (CustomerAction.DISABLE, "DISABLED"),
        (CustomerAction.ENABLE, "VALID"),
        (CustomerAction.DELETE, "NOT_FOUND"),
        (CustomerAction.RESTORE, "VALID"),
    ):
        changed = await customers.customers.act(id, action, "", OPERATOR)
        assert changed.effective == "everywhere"
        # A key that was not cached before is denied as well.
        late = await customers.key(id)
        assert await codes(gateway, *keys, late, other) == [code] * 4 + ["VALID"]


async def test_shared_limit_is_that_of_all_keys_and_named(customers: Customers) -> None:
    gateway, id = customers.gateway, await customers.customer(limits=[BURST])
    first, second = await customers.key(id), await customers.key(id)
    assert await codes(gateway, first, second, first, second, first) == ["VALID"] * 5
    for key in (first, second):
        reply = await gateway.verify(key.token)
        assert reply.outcome == (200, "RATE_LIMITED")
        states = {state["name"]: state["exceeded"] for state in reply.json["limits"]}
        assert states == {"requests": False, "customer.requests": True}
        assert '"customer.requests";r=0' in (reply.header("ratelimit") or "")


async def test_request_that_one_limit_denies_counts_against_none(customers: Customers) -> None:
    gateway, id = customers.gateway, await customers.customer(limits=[BURST])
    small = await customers.key(id, limits=[limit(2)])
    large = await customers.key(id, limits=[limit(100)])
    assert await codes(gateway, *[small] * 4) == ["VALID"] * 2 + ["RATE_LIMITED"] * 2
    assert await codes(gateway, *[large] * 4) == ["VALID"] * 3 + ["RATE_LIMITED"]
    result = (await gateway.verify(large.token, cost=0)).json
    assert [state["remaining"] for state in result["limits"]] == [97, 0]


async def test_change_of_a_plan_reaches_what_keys_inherit(customers: Customers) -> None:
    gateway = customers.gateway
    plan = await customers.plan(limits=[BURST], scopes=["orders:read"])
    follower = await customers.inheriting(await customers.customer(plan=plan))
    without = await gateway.create_key(plan=plan, limits=[], inherits=["limits", "scopes"])
    own = await customers.key(await customers.customer(plan=plan), scopes=["orders:write"])
    keys = [(follower, "VALID"), (without, "VALID"), (own, "INSUFFICIENT_PERMISSIONS")]
    for key, code in keys:
        result = (await gateway.verify(key.token, scopes=["orders:read"], cost=0)).json
        assert result["code"] == code
    assert [each["limit"] for each in result["limits"]] == []
    changes = {
        "scopes": ("orders:write",),
        "shared_limits": (BURST.limit(),),
        "limits": (RateLimitInput(name="requests", quota=50, window_s=1).limit(),),
    }
    await customers.plans.update(plan, changes, OPERATOR, version=None)
    for key, _ in keys:
        result = (await gateway.verify(key.token, scopes=["orders:write"], cost=0)).json
        assert result["valid"], result
    result = (await gateway.verify(follower.token, cost=0)).json
    assert [each["limit"] for each in result["limits"]] == [50, 5]
    result = (await gateway.verify(without.token, cost=0)).json
    assert [each["limit"] for each in result["limits"]] == [50]


async def test_customer_that_changes_its_plan_takes_its_keys_along(customers: Customers) -> None:
    gateway = customers.gateway
    plans = [await customers.plan(scopes=[scope]) for scope in ("a:read", "b:read")]
    id = await customers.customer(plan=plans[0])
    key = await customers.inheriting(id)
    for plan, scope in (*zip(plans, ("a:read", "b:read"), strict=True), (None, "cores:read")):
        await customers.customers.update(id, {"plan": plan}, OPERATOR, version=None)
        assert (await gateway.verify(key.token)).json["scopes"] == [scope]


async def test_changed_lifetime_of_a_plan_reaches_gateways(customers: Customers) -> None:
    gateway, plan = customers.gateway, await customers.plan(ttl_s=90 * 86_400)
    others = await customers.plan(ttl_s=7 * 86_400)
    id = await customers.customer(plan=plan)
    created_at = int(time.time())

    async def key(lifetime_s: int) -> Key:
        times = [datetime.fromtimestamp(created_at + each, UTC) for each in (0, lifetime_s)]
        return await customers.key(id, created_at=times[0], expires_at=times[1])

    follower, own = await key(90 * 86_400), await key(3600)

    async def lifetimes() -> list[int]:
        results = [(await gateway.verify(key.token)).json for key in (follower, own)]
        ends = [datetime.fromisoformat(result["expires_at"]) for result in results]
        return [round(end.timestamp() - created_at) for end in ends]

    assert await lifetimes() == [90 * 86_400, 3600]
    await customers.plans.update(plan, {"ttl_s": 30 * 86_400}, OPERATOR, version=None)
    assert await lifetimes() == [30 * 86_400, 3600]
    await customers.customers.update(id, {"plan": others}, OPERATOR, version=None)
    assert await lifetimes() == [7 * 86_400, 3600]


async def test_credits_are_consumed_by_all_keys_or_by_none(customers: Customers) -> None:
    gateway = customers.gateway
    plan = await customers.plan(credits=Refill(4, "month"))
    id = await customers.customer(plan=plan)
    plain, paid = await customers.key(id), await customers.key(id, has_credits=True)
    insert = "INSERT INTO key_credit (family_id, remaining, refilled_at) VALUES ($1, 2, now())"
    await gateway.pool.execute(insert, paid.id)
    assert await codes(gateway, *[paid] * 3) == ["VALID"] * 2 + ["USAGE_EXCEEDED"]
    denied = (await gateway.verify(paid.token)).json
    assert (denied["credits"]["exceeded"], denied["shared_credits"]["exceeded"]) == (True, False)
    assert await codes(gateway, *[plain] * 3) == ["VALID"] * 2 + ["USAGE_EXCEEDED"]
    reply = await gateway.verify(plain.token)
    denied = reply.json
    assert (denied["credits"], denied["shared_credits"]["exceeded"]) == (None, True)
    assert denied["shared_credits"]["refills_at"] is not None
    assert reply.header("retry-after") is not None
    await customers.customers.update(id, {"credits": UpdateCredits(add=1)}, OPERATOR, version=None)
    assert await codes(gateway, *[plain] * 2) == ["VALID", "USAGE_EXCEEDED"]


async def test_shared_credits_are_exact_under_a_race(customers: Customers, another: Any) -> None:
    """97 clients with three keys, of which one has credits of its own, at two gateways."""
    gateway, total = customers.gateway, 60
    id = await customers.customer(credits=Credits(total))
    keys = [
        await customers.key(id, has_credits=own, limits=[limit(10_000)])
        for own in (False, False, True)
    ]
    insert = "INSERT INTO key_credit (family_id, remaining, refilled_at) VALUES ($1, 15, now())"
    await gateway.pool.execute(insert, keys[2].id)
    gateways = (gateway, another())
    results = await asyncio.gather(*(gateways[n % 2].code(keys[n % 3].token) for n in range(97)))
    own = sum(code == "VALID" for code in results[2::3])
    assert own <= 15
    assert results.count("VALID") == total
    statement = "SELECT remaining FROM key_credit WHERE family_id = ANY ($1) ORDER BY family_id"
    left = [row[0] for row in await gateway.pool.fetch(statement, [f"@{id}", keys[2].id])]
    assert sorted(left) == sorted([0, 15 - own])


async def test_customer_and_plan_that_are_created_again(customers: Customers) -> None:
    """They have the names of purged ones, which workers know."""
    gateway, name = customers.gateway, await customers.plan(scopes=["a:read"])
    for scope in ("a:read", "b:read"):
        await customers.customers.create(CreateCustomer(id=name, plan=name), OPERATOR)
        key = await customers.inheriting(name)
        await applied(gateway.pool, await gateway.pool.fetchval("SELECT seq FROM last_change"))
        assert (await gateway.verify(key.token)).json["scopes"] == [scope]
        await customers.customers.act(name, CustomerAction.DELETE, "", OPERATOR)
        assert await gateway.code(key.token) == "NOT_FOUND"
        roles = frozenset({Role.OWNER})
        assert await customers.customers.purge(name, name, "", OPERATOR, roles) == (1, 0)
        await customers.plans.delete(name, OPERATOR)
        await customers.plans.create(fields_of(CreatePlan(name=name, scopes=["b:read"])), OPERATOR)


async def test_service_receives_the_customer(gateway: Gateway, customers: Customers) -> None:
    id = await customers.customer()
    key = await customers.key(id)
    reply = await gateway.get("/v1/keys/authorize", key.bearer)
    assert reply.header("gatehouse-customer-id") == id
    assert json.loads((await gateway.verify(key.token)).body)["customer_id"] == id
