"""Keys through the management API, on a real database."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gatehouse.crypto import token as apikey

from tests.runtime.console.conftest import Console


@pytest.mark.requirement("CG-01")
async def test_a_new_key_is_answered_once_with_its_token_and_where_it_is(door: Console) -> None:
    limit = {"name": "burst", "quota": 10, "window_s": 60, "burst": 5, "cost": 1}
    wish = {"name": "nightly export", "owner": "billing", "scopes": ["cores:read"], "cores": ["docs"], "limits": [limit]}
    reply = await door.client.post("/v1/keys", json={**wish, "ttl_s": 3600})
    assert reply.status_code == 201
    assert reply.headers["cache-control"] == "no-store"
    made = reply.json()
    assert apikey.parse(made["token"], "gtk") is not None
    assert made["token"].startswith(made["key"]["start"])
    assert reply.headers["location"] == f"/v1/keys/{made['key']['id']}"
    assert {name: made["key"][name] for name in wish} == wish
    assert made["key"]["environment"] == "test"
    shown = (await door.client.get(reply.headers["location"])).json()
    assert shown == made["key"]


async def test_a_key_without_wishes_gets_the_defaults_of_the_deployment(door: Console) -> None:
    key = (await door.create(name="plain"))["key"]
    assert key["scopes"] == ["cores:read"]
    assert key["limits"] == [{"name": "requests", "quota": 600, "window_s": 60, "burst": 600, "cost": 1}]
    assert (key["expires_at"], key["cores"], key["owner"]) == (None, [], "")


async def test_an_expiry_is_kept_to_the_microsecond_and_told_in_utc(door: Console) -> None:
    key = (await door.create(expires_at="2031-06-01T12:00:00.123456+02:00"))["key"]
    assert key["expires_at"] == "2031-06-01T10:00:00.123456Z"


async def test_a_revoked_key_stays_revoked_and_keeps_its_first_date_and_reason(door: Console) -> None:
    key = (await door.create())["key"]
    first = (await door.client.post(f"/v1/keys/{key['id']}/revoke", json={"reason": "leaked"})).json()
    second = (await door.client.post(f"/v1/keys/{key['id']}/revoke", json={"reason": "again"})).json()
    assert first["effective"] == "everywhere"
    assert (first["key"]["state"], first["key"]["revoke_reason"], first["key"]["revoked_by"]) == (
        "revoked",
        "leaked",
        "bootstrap",
    )
    assert second["key"] == first["key"]
    events = (await door.client.get("/v1/audit-events", params={"target_id": key["id"]})).json()["events"]
    assert [event["action"] for event in events] == ["key.revoke", "key.create"]


async def test_a_revocation_says_within_bound_while_a_live_gateway_has_not_confirmed_it(door: Console) -> None:
    door.database.sql("INSERT INTO gateway_worker VALUES ('slow gateway', 0, now() + interval '1 minute')")
    key = (await door.create())["key"]
    reply = await door.client.post(f"/v1/keys/{key['id']}/revoke")
    door.database.sql("DELETE FROM gateway_worker")
    assert reply.json()["effective"] == "within_bound"


async def test_a_revocation_does_not_wait_for_a_gateway_that_was_not_seen_for_twice_the_bound(door: Console) -> None:
    door.database.sql("INSERT INTO gateway_worker VALUES ('dead gateway', 0, now() - interval '1 minute')")
    key = (await door.create())["key"]
    reply = await door.client.post(f"/v1/keys/{key['id']}/revoke")
    door.database.sql("DELETE FROM gateway_worker")
    assert reply.json()["effective"] == "everywhere"


async def test_revoking_an_unknown_key_is_a_404(door: Console) -> None:
    reply = await door.client.post("/v1/keys/000000000000/revoke")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


async def test_pages_show_every_key_once_in_the_order_of_ids(door: Console) -> None:
    made = {(await door.create(owner="pages"))["key"]["id"] for _ in range(5)}
    seen: list[str] = []
    query: dict[str, Any] = {"owner": "pages", "limit": 2}
    while True:
        page = (await door.client.get("/v1/keys", params=query)).json()
        seen += [key["id"] for key in page["keys"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == sorted(made)


async def test_a_cursor_of_another_filter_is_refused(door: Console) -> None:
    for _ in range(2):
        await door.create(owner="cursor")
    cursor = (await door.client.get("/v1/keys", params={"owner": "cursor", "limit": 1})).json()["next_cursor"]
    reply = await door.client.get("/v1/keys", params={"owner": "other", "cursor": cursor})
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["message"] == "is not a cursor of this list"


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "a" * 400, "bnVsbA", "W10"])
async def test_a_cursor_that_is_none_is_refused(door: Console, cursor: str) -> None:
    assert (await door.client.get("/v1/keys", params={"cursor": cursor})).status_code == 400


async def test_the_state_filter_tells_active_from_expired_from_revoked(door: Console) -> None:
    mark = "states"
    active, gone = [(await door.create(owner=mark))["key"]["id"] for _ in range(2)]
    late = (await door.create(owner=mark, ttl_s=60))["key"]["id"]
    door.expire(late)
    await door.client.post(f"/v1/keys/{gone}/revoke")
    for state, expected in {"active": active, "expired": late, "revoked": gone}.items():
        keys = (await door.client.get("/v1/keys", params={"owner": mark, "state": state})).json()["keys"]
        assert [key["id"] for key in keys] == [expected], state


VALID: dict[str, Any] = {"name": "a key"}
ONE_LIMIT = {"name": "a", "quota": 1, "window_s": 1}


@pytest.mark.parametrize(
    ("broken", "location", "message"),
    [
        ({"name": ""}, "body.name", "is too short"),
        ({"name": "x" * 101}, "body.name", "is too long"),
        ({"name": " x"}, "body.name", "must not begin or end with a space"),
        ({"name": "a\u202eb"}, "body.name", "must not contain control characters or invisible characters"),
        ({"name": "a\0b"}, "body.name", "contains a NUL character or an unpaired surrogate"),
        ({"name": 5}, "body.name", "must be a string"),
        ({"extra": 1}, "body.extra", "is not a known field"),
        ({"environment": "prod"}, "body.environment", "is not one of the allowed values"),
        ({"scopes": ["Admin"]}, "body.scopes[0]", "does not match the required pattern"),
        ({"scopes": ["s"] * 51}, "body.scopes", "has too many items"),
        ({"scopes": ["a", "a"]}, "body.scopes", "must not contain duplicates"),
        ({"cores": ["-docs"]}, "body.cores[0]", "does not match the required pattern"),
        ({"limits": []}, "body.limits", "has too few items"),
        ({"limits": [ONE_LIMIT] * 11}, "body.limits", "has too many items"),
        ({"limits": [ONE_LIMIT] * 2}, "body.limits", "must not contain two limits with the same name"),
        ({"limits": [{**ONE_LIMIT, "quota": 0}]}, "body.limits[0].quota", "is too small"),
        ({"limits": [{**ONE_LIMIT, "quota": 10**9 + 1}]}, "body.limits[0].quota", "is too large"),
        ({"limits": [{**ONE_LIMIT, "quota": "5"}]}, "body.limits[0].quota", "must be an integer"),
        ({"limits": [{**ONE_LIMIT, "quota": True}]}, "body.limits[0].quota", "must be an integer"),
        ({"limits": [{**ONE_LIMIT, "window_s": 31 * 86400 + 1}]}, "body.limits[0].window_s", "is too large"),
        ({"limits": [{**ONE_LIMIT, "burst": 2}]}, "body.limits[0]", "burst must not be larger than quota"),
        ({"ttl_s": 0}, "body.ttl_s", "is too small"),
        ({"ttl_s": 10 * 365 * 86400 + 1}, "body.ttl_s", "is too large"),
        ({"expires_at": "2031-01-01"}, "body.expires_at", "RFC 3339"),
        ({"expires_at": "2031-02-30T00:00:00Z"}, "body.expires_at", "is not a date that exists"),
        ({"expires_at": 1900000000}, "body.expires_at", "must be a string"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "body.expires_at", "is in the past"),
        ({"expires_at": "2031-01-01T00:00:00Z", "ttl_s": 5}, "body", "exclude each other"),
    ],
)
async def test_one_wrong_member_is_refused_by_place_and_reason(
    door: Console, broken: dict[str, Any], location: str, message: str
) -> None:
    reply = await door.client.post("/v1/keys", json={**VALID, **broken})
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["code"] == "bad_request"
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert problem["errors"][0]["location"] == location
    assert message in problem["errors"][0]["message"]


async def test_an_expiry_more_than_ten_years_ahead_is_refused(door: Console) -> None:
    late = (datetime.now(UTC) + timedelta(days=3651)).strftime("%Y-%m-%dT%H:%M:%SZ")
    reply = await door.client.post("/v1/keys", json={**VALID, "expires_at": late})
    assert reply.json()["errors"][0]["message"] == "is more than ten years ahead"


async def test_what_verifies_a_key_never_leaves_the_store(door: Console) -> None:
    made = await door.create()
    shown = await door.client.get(f"/v1/keys/{made['key']['id']}")
    assert not re.search(r"digest|pepper|hash", shown.text)
    assert made["token"] not in shown.text
