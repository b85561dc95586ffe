"""Customers and plans in the management API."""

from datetime import datetime
from typing import Any

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.features.customers import repository
from gatehouse.features.keys.repository import follow_lifetime

from tests.runtime.console_client import Console

LIMIT = {"name": "requests", "quota": 600, "window_s": 60}
STORED = {**LIMIT, "burst": 600, "cost": 1}
MONTHLY = {"amount": 1000, "every": "month"}
ANY = {"If-Match": "*"}


async def created(console: Console, path: str, **body: Any) -> Any:
    reply = await console.post(path, json=body)
    assert reply.status_code == 201, reply.text
    return reply.json()


async def shown(console: Console, path: str) -> Any:
    reply = await console.get(path)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def changed(console: Console, path: str, **body: Any) -> Any:
    reply = await console.patch(path, json=body, headers=ANY)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_key_names_a_customer_that_exists(console: Console) -> None:
    refused = await console.post("/v1/keys", json={"name": "a", "customer_id": "nobody"})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["location"] == "body.customer_id"
    invalid = {"name": "a", "customer_id": "Acme & Co", "create_customer": True}
    refused = await console.post("/v1/keys", json=invalid)
    assert (refused.status_code, refused.json()["errors"][0]["location"]) == (
        400,
        "body.customer_id",
    )
    body = {"name": "a", "customer_id": "somebody", "create_customer": True}
    key = (await console.post("/v1/keys", json=body)).json()["key"]
    assert (key["customer_id"], key["customer_name"]) == ("somebody", "somebody")
    customer = await shown(console, "/v1/customers/somebody")
    assert (customer["name"], customer["keys"], customer["state"]) == ("somebody", 1, "active")
    events = await shown(console, "/v1/audit-events?target_id=somebody")
    assert [event["action"] for event in events["events"]] == ["customer.create"]


async def test_customer_is_created_with_credits_of_its_own(console: Console) -> None:
    own = {"remaining": 7, "refill": MONTHLY}
    await created(console, "/v1/customers", id="funded", credits=own)
    assert (await shown(console, "/v1/customers/funded"))["credits"] == own
    await changed(console, "/v1/customers/funded", credits={"add": 3})
    assert (await shown(console, "/v1/customers/funded"))["credits"] == {**own, "remaining": 10}


async def test_key_inherits_from_the_plan_of_its_customer_until_it_overrides(
    console: Console,
) -> None:
    await created(
        console, "/v1/plans", name="gold", limits=[LIMIT], scopes=["orders:read"], ttl_s=86_400
    )
    await created(console, "/v1/customers", id="c1", name="Customer One", plan="gold")
    created_key = await console.create(customer_id="c1")
    key_id, key = created_key["key"]["id"], created_key["key"]
    assert (key["limits"], key["scopes"]) == ([STORED], ["orders:read"])
    assert key["inherits"] == ["expires_at", "limits", "scopes"]
    assert key["expires_at"] is not None
    path = f"/v1/keys/{key_id}"
    await changed(console, "/v1/plans/gold", scopes=["orders:read", "orders:write"])
    assert (await shown(console, path))["scopes"] == ["orders:read", "orders:write"]
    left = (await changed(console, path, customer_id=None))["key"]
    assert left == await shown(console, path)
    assert (left["scopes"], left["inherits"]) == (["cores:read"], [])
    await changed(console, path, customer_id="c1", scopes=None, limits=None)
    # An update of another field does not write what the key inherits.
    await changed(console, path, notes="a note")
    await changed(console, "/v1/plans/gold", limits=[{**LIMIT, "quota": 1}])
    assert (await shown(console, path))["limits"][0]["quota"] == 1
    own = [{**LIMIT, "quota": 7}]
    assert (await changed(console, path, limits=own))["key"]["inherits"] == ["expires_at", "scopes"]
    assert (await shown(console, path))["limits"][0]["quota"] == 7
    overrides = (await shown(console, "/v1/plans/gold/overrides"))["overrides"]
    assert [(each["key_id"], each["fields"]) for each in overrides] == [(key_id, ["limits"])]
    assert (await changed(console, path, limits=None))["key"]["inherits"] == key["inherits"]


DAY_S = 86_400


def lifetime_s(key: dict[str, Any]) -> float | None:
    """Seconds from the creation of a key to its expiry."""
    if key["expires_at"] is None:
        return None
    created_at, expires_at = (
        datetime.fromisoformat(key[name]) for name in ("created_at", "expires_at")
    )
    return round((expires_at - created_at).total_seconds())


async def lifetimes(console: Console, *keys: dict[str, Any]) -> list[float | None]:
    return [lifetime_s(await shown(console, f"/v1/keys/{key['id']}")) for key in keys]


def make_older(console: Console, key_id: str, days: int) -> None:
    for name in ("created_at", "expires_at"):
        console.sql(
            f"UPDATE api_key SET {name} = {name} - interval '{days} days' WHERE id = '{key_id}'"  # noqa: S608
        )


async def test_expiry_of_keys_follows_the_lifetime_of_their_plan(console: Console) -> None:
    for name, days in (("yearly", 365), ("weekly", 7), ("endless", None)):
        await created(console, "/v1/plans", name=name, ttl_s=days and days * DAY_S)
    await created(console, "/v1/customers", id="lasting", plan="yearly")
    key = (await console.create(customer_id="lasting"))["key"]
    own = (await console.create(customer_id="lasting", ttl_s=3600))["key"]
    alone = (await console.create(plan="yearly"))["key"]
    keys = key, own, alone
    await changed(console, "/v1/plans/yearly", ttl_s=30 * DAY_S)
    assert await lifetimes(console, *keys) == [30 * DAY_S, 3600, 30 * DAY_S]
    rotated = (await console.post(f"/v1/keys/{key['id']}/rotate", json={})).json()["key"]
    keys = rotated, own, alone
    for plan, lifetime in (("weekly", 7 * DAY_S), ("endless", None), ("yearly", 30 * DAY_S)):
        await changed(console, "/v1/customers/lasting", plan=plan)
        path = f"/v1/keys/{alone['id']}"
        assert lifetime_s((await changed(console, path, plan=plan))["key"]) == lifetime
        assert await lifetimes(console, *keys) == [lifetime, 3600, lifetime]
    overrides = (await shown(console, "/v1/plans/yearly/overrides"))["overrides"]
    assert {each["key_id"]: each["fields"] for each in overrides} == {own["id"]: ["expires_at"]}
    views = [await shown(console, f"/v1/keys/{each['id']}") for each in keys]
    assert ["expires_at" in view["inherits"] for view in views] == [True, False, True]
    await changed(console, "/v1/customers/lasting", plan=None)
    await changed(console, f"/v1/keys/{alone['id']}", plan=None)
    assert await lifetimes(console, *keys) == [30 * DAY_S, 3600, 30 * DAY_S]
    await changed(console, "/v1/plans/yearly", ttl_s=DAY_S)
    assert await lifetimes(console, *keys) == [30 * DAY_S, 3600, 30 * DAY_S]


async def test_expiry_in_the_update_that_changes_the_plan_is_the_keys_own(console: Console) -> None:
    await created(console, "/v1/plans", name="short", ttl_s=7 * DAY_S)
    key = await console.create()
    path = f"/v1/keys/{key['key']['id']}"
    update = await changed(console, path, plan="short", expires_at=None)
    assert update["key"]["expires_at"] is None
    await changed(console, path, plan=None)
    update = await changed(console, path, plan="short")
    assert lifetime_s(update["key"]) == 7 * DAY_S
    events = await console.get("/v1/audit-events", params={"target_id": key["key"]["id"]})
    event = events.json()["events"][0]
    assert event["details"]["changed"] == ["expires_at", "plan"]
    assert event["details"]["expires_at_before"] is None
    assert event["details"]["expires_at"] is not None


@pytest.mark.parametrize("act", ["plan", "customer", "key", "joins"])
async def test_changed_lifetime_ends_no_key_at_once(console: Console, act: str) -> None:
    await created(console, "/v1/plans", name=f"long-{act}", ttl_s=90 * DAY_S)
    await created(console, "/v1/plans", name=f"brief-{act}", ttl_s=7 * DAY_S)
    await created(console, "/v1/customers", id=f"old-{act}", plan=f"long-{act}")
    await created(console, "/v1/customers", id=f"brief-{act}", plan=f"brief-{act}")
    of_plan, of_customer = {"plan": f"long-{act}"}, {"customer_id": f"old-{act}"}
    key = await console.create_id(**(of_plan if act == "key" else of_customer))
    make_older(console, key, 8)
    acts: dict[str, tuple[str, dict[str, Any], str]] = {
        "plan": (f"/v1/plans/long-{act}", {"ttl_s": 7 * DAY_S}, "ttl_s"),
        "customer": (f"/v1/customers/old-{act}", {"plan": f"brief-{act}"}, "plan"),
        "key": (f"/v1/keys/{key}", {"plan": f"brief-{act}"}, "plan"),
        "joins": (f"/v1/keys/{key}", {"customer_id": f"brief-{act}"}, "customer_id"),
    }
    path, changes, location = acts[act]
    before = [await shown(console, each) for each in (path, f"/v1/keys/{key}")]
    refused = await console.patch(path, json=changes, headers=ANY)
    [error] = refused.json()["errors"]
    assert (refused.status_code, error["location"]) == (400, f"body.{location}")
    assert "1 key " in error["message"]
    assert [await shown(console, each) for each in (path, f"/v1/keys/{key}")] == before
    # With an expiry of its own, or expired, the key no longer follows.
    await changed(console, f"/v1/keys/{key}", expires_at=None)
    await changed(console, path, **changes)
    assert (await shown(console, f"/v1/keys/{key}"))["expires_at"] is None


async def test_interrupted_update_of_a_lifetime_continues_when_it_is_repeated(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    await created(console, "/v1/plans", name="many", ttl_s=90 * DAY_S)
    keys = [(await console.create(plan="many"))["key"] for _ in range(3)]
    monkeypatch.setattr(repository, "FOLLOWERS_MAX", 1)
    calls = iter(range(100))

    async def interrupted(*parameters: Any, **options: Any) -> str | None:
        if next(calls) == 2:
            raise Unavailable("The database is not available.")
        return await follow_lifetime(*parameters, **options)

    monkeypatch.setattr(f"{repository.__name__}.follow_lifetime", interrupted)
    for status, changed_keys in ((503, 2), (200, 3)):
        update = await console.patch("/v1/plans/many", json={"ttl_s": 30 * DAY_S}, headers=ANY)
        assert update.status_code == status
        assert (await lifetimes(console, *keys)).count(30 * DAY_S) == changed_keys
    assert (await shown(console, "/v1/plans/many/overrides"))["overrides"] == []


async def test_expired_key_stays_expired_when_its_plan_lasts_longer(console: Console) -> None:
    await created(console, "/v1/plans", name="monthly", ttl_s=30 * DAY_S)
    key = await console.create_id(plan="monthly")
    make_older(console, key, 31)
    before = await shown(console, f"/v1/keys/{key}")
    await changed(console, "/v1/plans/monthly", ttl_s=90 * DAY_S)
    after = await shown(console, f"/v1/keys/{key}")
    assert (after["expires_at"], after["version"]) == (before["expires_at"], before["version"])


async def test_plan_in_use_is_not_deleted(console: Console) -> None:
    await created(console, "/v1/plans", name="used")
    await created(console, "/v1/customers", id="user", plan="used")
    refused = await console.delete("/v1/plans/used")
    assert refused.status_code == 409
    await changed(console, "/v1/customers/user", plan=None)
    assert (await console.delete("/v1/plans/used")).status_code == 204
    assert (await console.get("/v1/plans/used")).status_code == 404
    missing = await console.patch("/v1/customers/user", json={"plan": "used"}, headers=ANY)
    assert (missing.status_code, missing.json()["errors"][0]["location"]) == (400, "body.plan")


@pytest.mark.parametrize("scopes", [["admin"], ["role:operator"], ["secrets:create"]])
async def test_key_or_plan_that_grants_a_role_has_no_customer(
    console: Console, scopes: list[str]
) -> None:
    await console.post("/v1/customers", json={"id": "no-roles"})
    body = {"name": "a", "customer_id": "no-roles", "scopes": scopes}
    assert (await console.post("/v1/keys", json=body)).status_code == 400
    key_id = await console.create_id(scopes=scopes)
    patch = await console.patch(f"/v1/keys/{key_id}", json={"customer_id": "no-roles"}, headers=ANY)
    assert patch.status_code == 400
    plan = await console.post("/v1/plans", json={"name": "roles", "scopes": scopes})
    assert (plan.status_code, plan.json()["errors"][0]["location"]) == (400, "body.scopes")


async def test_credits_follow_the_plan_by_the_difference(console: Console) -> None:
    await created(console, "/v1/plans", name="credits", credits=MONTHLY)
    customer = await created(console, "/v1/customers", id="payer", plan="credits")
    assert customer["credits"] == {"remaining": 1000, "refill": MONTHLY}
    assert customer["inherits"] == ["limits", "credits"]
    console.sql("UPDATE key_credit SET remaining = 400 WHERE family_id = '@payer'")
    await changed(console, "/v1/plans/credits", credits={**MONTHLY, "amount": 1500})
    path = "/v1/customers/payer"
    assert (await shown(console, path))["credits"]["remaining"] == 900
    # Another field leaves the credits alone.
    assert (await changed(console, path, name="Payer"))["customer"]["credits"]["remaining"] == 900
    own = (await changed(console, path, credits={"add": 50}))["customer"]
    assert (own["credits"]["remaining"], own["inherits"]) == (950, ["limits"])
    await changed(console, "/v1/plans/credits", credits={**MONTHLY, "amount": 9000})
    assert (await shown(console, path))["credits"]["remaining"] == 950
    await changed(console, "/v1/plans/credits", credits=None)
    back = (await changed(console, path, credits=None))["customer"]
    assert (back["credits"], back["inherits"]) == (None, ["limits", "credits"])


async def test_life_of_a_customer(console: Console) -> None:
    await created(console, "/v1/customers", id="alive")
    key_id = await console.create_id(customer_id="alive")
    path = "/v1/customers/alive"
    for action, state in (("disable", "disabled"), ("enable", "active"), ("disable", "disabled")):
        reply = await console.post(f"{path}/{action}", json={"reason": "unpaid"})
        assert (reply.status_code, reply.json()["customer"]["state"]) == (200, state)
    assert (await console.delete(path)).json()["customer"]["state"] == "deleted"
    assert (await console.post(f"{path}/enable")).status_code == 409
    restored = await console.post(f"{path}/restore")
    assert restored.json()["customer"]["state"] == "disabled"
    early = await console.post(f"{path}/purge", json={"confirm": "alive"})
    assert early.status_code == 409
    await console.delete(path)
    wrong = await console.post(f"{path}/purge", json={"confirm": "other"})
    assert wrong.status_code == 400
    purged = await console.post(f"{path}/purge", json={"confirm": "alive"})
    assert purged.json() == {"id": "alive", "purged_keys": 1, "keys_left": 0}
    assert (await console.get(path)).status_code == 404
    assert (await shown(console, f"/v1/keys/{key_id}"))["state"] == "purged"
    actions = [
        e["action"] for e in (await shown(console, "/v1/audit-events?target_id=alive"))["events"]
    ]
    assert actions[0] == "customer.purge"
    assert actions.count("customer.disable") == 2


async def test_customers_are_listed_by_name_and_found_by_part(console: Console) -> None:
    names = {"l1": "Ümlaut GmbH", "l2": "beta", "l3": "Alpha"}
    for id, name in names.items():
        await created(console, "/v1/customers", id=id, name=name, tags=["listed"])
    listed, cursor = list[str](), None
    while cursor is not None or not listed:
        query = {"tag": "listed", "sort": "name", "limit": 1, "total": "true"}
        page = (
            await console.get(
                "/v1/customers", params={**query, "cursor": cursor} if cursor else query
            )
        ).json()
        listed += [customer["id"] for customer in page["customers"]]
        cursor = page["next_cursor"]
    assert listed == ["l3", "l2", "l1"]
    assert page["total"] == 3
    found = await console.get("/v1/customers", params={"search": "MLAUT g"})
    assert [customer["id"] for customer in found.json()["customers"]] == ["l1"]
    key_id = await console.create_id(customer_id="l1")
    for name, text in (("customer", "Ümlaut gmbh"), ("customer", "l1"), ("search", "mlaut")):
        keys = (await console.get("/v1/keys", params={name: text})).json()["keys"]
        assert [key["id"] for key in keys] == [key_id]


async def test_audit_trail_has_names_and_what_changed(console: Console) -> None:
    await created(console, "/v1/plans", name="old-plan")
    await created(console, "/v1/plans", name="new-plan", scopes=["a:read"])
    await created(console, "/v1/customers", id="audited", name="Audited Ltd", plan="old-plan")
    key_id = await console.create_id(name="their key", customer_id="audited", scopes=["a:read"])
    await changed(console, "/v1/customers/audited", plan="new-plan", notes="not recorded")
    await changed(console, f"/v1/keys/{key_id}", scopes=["b:read", "c:read"])
    await changed(console, "/v1/plans/new-plan", scopes=None)
    for target, expected in (
        ("audited", {"plan": "new-plan", "plan_before": "old-plan", "changed": ["notes", "plan"]}),
        (key_id, {"scopes": ["b:read", "c:read"], "scopes_before": ["a:read"]}),
        ("new-plan", {"scopes": None, "scopes_before": ["a:read"]}),
    ):
        page = await shown(console, f"/v1/audit-events?target_id={target}")
        details = page["events"][0]["details"]
        assert expected.items() <= details.items()
        assert "not recorded" not in str(details)
        names = {"audited": "Audited Ltd", key_id: "their key"}
        assert page["names"].get(target) == names.get(target)


async def test_limits_are_objects(console: Console) -> None:
    body = {"name": "sign-in", "quota": 5, "window_s": 900}
    limit = await created(console, "/v1/limits", **body)
    assert limit["burst"] == 5
    assert (await console.post("/v1/limits", json=body)).status_code == 409
    path = "/v1/limits/sign-in"
    refused = await console.patch(path, json={"burst": 6}, headers=ANY)
    assert (refused.status_code, refused.json()["errors"][0]["location"]) == (400, "body.burst")
    stale = await console.patch(path, json={"quota": 6}, headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    assert (await changed(console, path, quota=6, burst=6))["limit"]["quota"] == 6
    assert [each["name"] for each in (await shown(console, "/v1/limits"))["limits"]] == ["sign-in"]
    assert (await console.delete(path)).status_code == 204
    assert (await console.get(path)).status_code == 404
    assert (await console.delete(path)).status_code == 404
    again = await created(console, "/v1/limits", **{**body, "quota": 7})
    assert (again["quota"], again["version"] > limit["version"]) == (7, True)


@pytest.mark.parametrize("name", ["requests", "customer.requests"])
@pytest.mark.parametrize("path", ["/v1/customers", "/v1/plans", "/v1/keys"])
async def test_names_of_limits_are_distinct(console: Console, path: str, name: str) -> None:
    limits = [{**LIMIT, "name": each} for each in ("requests", name)]
    body = {"id": "twice"} if path == "/v1/customers" else {"name": "twice"}
    for field in ("limits", "shared_limits") if path == "/v1/plans" else ("limits",):
        reply = await console.post(path, json={**body, field: limits})
        assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, f"body.{field}")


async def test_audit_trail_has_no_personal_data_of_a_customer(console: Console) -> None:
    """A purge erases it, but not the trail."""
    texts = {"name": "Ada Byron", "notes": "her notes"}
    await created(console, "/v1/customers", id="erasable", **texts, metadata={"a": "her data"})
    path = "/v1/customers/erasable"
    await changed(console, path, name="Ada King", notes="other notes", metadata={})
    await console.create_id(customer_id="erasable")
    page = await shown(console, "/v1/audit-events?target_id=erasable")
    assert [event["action"] for event in page["events"]] == ["customer.update", "customer.create"]
    assert page["events"][0]["details"]["changed"] == ["metadata", "name", "notes"]
    for text in ("Ada", "her ", "other"):
        assert text not in str(page["events"])
    await console.delete(path)
    purged = await console.post(f"{path}/purge", json={"confirm": "erasable"})
    assert purged.json()["keys_left"] == 0
    assert "Ada" not in str(await shown(console, "/v1/audit-events?target_id=erasable"))
