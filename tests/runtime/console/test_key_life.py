"""The life of a key through the management API, on a real database."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from gatehouse.crypto.token import is_marked

from tests.runtime.console.conftest import Console


async def act(door: Console, key_id: str, what: str, **wish: Any) -> httpx.Response:
    return await door.client.post(f"/v1/keys/{key_id}/{what}", json=wish)


async def patch(door: Console, key_id: str, match: str = "*", **wish: Any) -> httpx.Response:
    return await door.client.patch(f"/v1/keys/{key_id}", json=wish, headers={"If-Match": match})


async def actions(door: Console, key_id: str) -> list[str]:
    events = (await door.client.get("/v1/audit-events", params={"target_id": key_id})).json()["events"]
    return [event["action"] for event in reversed(events)]


EVERYTHING: dict[str, Any] = {
    "roles": ["agent"],
    "methods": ["GET", "POST"],
    "addresses": ["192.0.2.0/24", "2001:db8::1/128"],
    "credits": {"remaining": 7, "refill": {"amount": 10, "every": "day"}},
    "tags": ["team:a"],
    "metadata": {"ticket": "OPS-1"},
    "notes": "two\nlines",
}


@pytest.mark.requirement("CG-01")
async def test_a_key_keeps_all_that_it_was_made_with(door: Console) -> None:
    key = (await door.create(**EVERYTHING))["key"]
    assert {name: key[name] for name in EVERYTHING} == EVERYTHING
    assert (key["scopes"], key["version"], key["generation"], key["family_id"]) == ([], 1, 1, key["id"])
    assert is_marked(key["id"], door.parts.pepper)


@pytest.mark.parametrize(
    ("broken", "location", "message"),
    [
        ({"addresses": ["10.0.0.1/8"]}, "body.addresses", "must be networks"),
        ({"addresses": ["192.0.2.1", "192.0.2.1/32"]}, "body.addresses", "must not contain duplicates"),
        ({"addresses": ["192.0.2.1"] * 51}, "body.addresses", "too many items"),
        ({"methods": ["get"]}, "body.methods[0]", "is not one of the allowed values"),
        ({"roles": ["root"]}, "body.roles[0]", "is not one of the allowed values"),
        ({"tags": ["A"]}, "body.tags[0]", "does not match the required pattern"),
        ({"tags": [f"t{number}" for number in range(21)]}, "body.tags", "has too many items"),
        ({"metadata": {"a": "x" * 501}}, "body.metadata.a", "is too long"),
        ({"metadata": {f"m{number}": "" for number in range(21)}}, "body.metadata", "has too many items"),
        ({"notes": "x" * 2001}, "body.notes", "is too long"),
        ({"notes": "a\u202eb"}, "body.notes", "control characters"),
        ({"credits": {"remaining": -1}}, "body.credits.remaining", "is too small"),
        ({"credits": {"remaining": 1, "refill": {"amount": 1, "every": "year"}}}, "body.credits.refill.every", "not one of"),
        ({"limits": [{"name": "a", "quota": 1, "window_s": 1, "cost": -1}]}, "body.limits[0].cost", "is too small"),
    ],
)
async def test_every_length_and_count_is_bounded(door: Console, broken: dict[str, Any], location: str, message: str) -> None:
    reply = await door.client.post("/v1/keys", json={"name": "a key", **broken})
    assert reply.status_code == 400
    problem = reply.json()["errors"][0]
    assert problem["location"] == location
    assert message in problem["message"]


async def test_an_update_changes_what_it_names_and_nothing_else(door: Console) -> None:
    before = (await door.create(**EVERYTHING))["key"]
    limit = {"name": "burst", "quota": 9, "window_s": 60, "burst": 3, "cost": 2}
    reply = await patch(door, before["id"], '"1"', owner="me", limits=[limit], credits=None, expires_at="2031-01-01T00:00:00Z")
    after = reply.json()["key"]
    assert (reply.status_code, reply.headers["etag"]) == (200, '"2"')
    changed = {"owner": "me", "limits": [limit], "credits": None, "expires_at": "2031-01-01T00:00:00Z", "version": 2}
    assert after == {**before, **changed}
    assert (await door.client.get(f"/v1/keys/{before['id']}")).json() == after


@pytest.mark.requirement("TR-11")
async def test_an_update_is_told_to_the_audit_trail_without_notes_and_metadata(door: Console) -> None:
    key = (await door.create())["key"]
    await patch(door, key["id"], owner="me", notes="s3cret-note", metadata={"a": "s3cret-fact"})
    events = await door.client.get("/v1/audit-events", params={"target_id": key["id"], "action": "key.update"})
    assert events.json()["events"][0]["details"] == {"changed": ["metadata", "notes", "owner"], "owner": "me", "version": 1}
    assert "s3cret" not in events.text


async def test_of_two_updates_of_one_version_the_second_is_refused(door: Console) -> None:
    key = (await door.create())["key"]
    replies = await asyncio.gather(*(patch(door, key["id"], '"1"', owner=name) for name in ("a", "b", "c")))
    assert sorted(reply.status_code for reply in replies) == [200, 412, 412]
    assert (await actions(door, key["id"])) == ["key.create", "key.update"]


async def test_an_update_without_if_match_is_told_what_to_send(door: Console) -> None:
    key = (await door.create())["key"]
    reply = await door.client.patch(f"/v1/keys/{key['id']}", json={"owner": "me"})
    assert (reply.status_code, reply.json()["code"]) == (428, "precondition_required")
    assert "If-Match" in reply.json()["errors"][0]["fix"]


@pytest.mark.parametrize("match", ["1", 'W/"1"', '"x"', '"0"', '"1", "2"'])
async def test_an_if_match_that_is_no_version_matches_none(door: Console, match: str) -> None:
    key = (await door.create())["key"]
    assert (await patch(door, key["id"], match, owner="me")).status_code == 412


@pytest.mark.parametrize("wish", [{}, {"allow_last_admin": True}, {"name": None}, {"scopes": None}, {"limits": []}])
async def test_an_update_that_says_nothing_is_refused(door: Console, wish: dict[str, Any]) -> None:
    key = (await door.create())["key"]
    assert (await patch(door, key["id"], **wish)).status_code == 400


async def test_a_disabled_key_is_enabled_again_and_twice_is_no_error(door: Console) -> None:
    key_id = (await door.create())["key"]["id"]
    for what, state in (("disable", "disabled"), ("disable", "disabled"), ("enable", "active"), ("enable", "active")):
        reply = await act(door, key_id, what)
        assert (reply.status_code, reply.json()["key"]["state"]) == (200, state)
    assert await actions(door, key_id) == ["key.create", "key.disable", "key.enable"]


@pytest.mark.requirement("CG-08")
@pytest.mark.parametrize("before", ["active", "disabled", "revoked"])
async def test_a_deleted_key_comes_back_as_it_was(door: Console, before: str) -> None:
    key_id = (await door.create())["key"]["id"]
    if before != "active":
        await act(door, key_id, {"disabled": "disable", "revoked": "revoke"}[before])
    was = (await door.client.get(f"/v1/keys/{key_id}")).json()
    gone = (await door.client.delete(f"/v1/keys/{key_id}")).json()["key"]
    assert (gone["state"], gone["deleted_by"]) == ("deleted", "bootstrap")
    back = (await act(door, key_id, "restore")).json()["key"]
    assert back == {**was, "version": back["version"]}


async def test_a_key_that_was_deleted_too_long_ago_is_not_restored(door: Console) -> None:
    key_id = (await door.create())["key"]["id"]
    await door.client.delete(f"/v1/keys/{key_id}")
    door.database.sql(f"UPDATE api_key SET deleted_at = now() - interval '31 days' WHERE id = '{key_id}'")  # noqa: S608
    reply = await act(door, key_id, "restore")
    assert (reply.status_code, "30 days" in reply.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("", "purge"),
        ("", "restore"),
        ("disable", "rotate"),
        ("revoke", "enable"),
        ("revoke", "disable"),
        ("revoke", "rotate"),
        ("delete", "enable"),
        ("delete", "revoke"),
    ],
)
async def test_what_a_state_does_not_allow_is_a_409_that_says_what_to_do(door: Console, first: str, then: str) -> None:
    key_id = (await door.create())["key"]["id"]
    if first == "delete":
        await door.client.delete(f"/v1/keys/{key_id}")
    elif first:
        await act(door, key_id, first)
    reply = await act(door, key_id, then, **({"confirm": key_id} if then == "purge" else {}))
    assert reply.status_code == 409
    assert reply.json()["detail"].startswith("The key is ")


@pytest.mark.requirement("CG-15", "TR-08")
async def test_a_rotated_key_works_on_for_its_grace_to_the_second(door: Console) -> None:
    made = await door.create(scopes=["admin"], ttl_s=86_400, **{name: EVERYTHING[name] for name in ("tags", "credits")})
    reply = await act(door, made["key"]["id"], "rotate", grace_s=90)
    rotated = reply.json()
    old, new = rotated["previous"], rotated["key"]
    assert (reply.status_code, reply.headers["location"]) == (201, f"/v1/keys/{new['id']}")
    assert seconds(old["expires_at"]) - seconds(old["rotated_at"]) == pytest.approx(90, abs=1e-5)
    assert (old["successor_id"], new["family_id"], new["generation"]) == (new["id"], made["key"]["id"], 2)
    assert (new["tags"], new["credits"], new["scopes"]) == (made["key"]["tags"], made["key"]["credits"], ["admin"])
    for token in (made["token"], rotated["token"]):
        assert (await door.client.get("/v1/keys", headers=door.as_(token))).status_code == 200
    assert (await act(door, old["id"], "end-grace")).status_code == 200
    assert (await door.client.get("/v1/keys", headers=door.as_(made["token"]))).status_code == 401
    assert (await door.client.get("/v1/keys", headers=door.as_(rotated["token"]))).status_code == 200


def seconds(instant: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(instant).timestamp()


@pytest.mark.requirement("CG-15")
async def test_grace_never_lasts_longer_than_the_old_key_would_have(door: Console) -> None:
    key = (await door.create(ttl_s=60))["key"]
    rotated = (await act(door, key["id"], "rotate", grace_s=86_400)).json()
    assert rotated["previous"]["expires_at"] == key["expires_at"]
    lived = seconds(rotated["key"]["expires_at"]) - seconds(rotated["key"]["created_at"])
    assert lived == pytest.approx(60, abs=1e-5)
    longer = await patch(door, key["id"], expires_at="2031-01-01T00:00:00Z")
    assert (longer.status_code, longer.json()["errors"][0]["location"]) == (400, "body.expires_at")


@pytest.mark.requirement("CG-15")
async def test_a_second_rotation_ends_the_grace_of_the_oldest_at_once(door: Console) -> None:
    first = (await door.create())["key"]
    second = (await act(door, first["id"], "rotate")).json()["key"]
    third = (await act(door, second["id"], "rotate")).json()
    again = await act(door, first["id"], "rotate")
    assert (again.status_code, second["id"] in again.json()["detail"]) == (409, True)
    page = (await door.client.get("/v1/keys", params={"family_id": first["id"]})).json()["keys"]
    ends = {key["generation"]: key["expires_at"] for key in page}
    assert ends[1] == third["previous"]["rotated_at"]
    assert seconds(ends[2]) > seconds(third["previous"]["rotated_at"])
    assert ends[3] is None


async def test_of_many_rotations_at_once_one_succeeds(door: Console) -> None:
    key_id = (await door.create())["key"]["id"]
    replies = await asyncio.gather(*(act(door, key_id, "rotate") for _ in range(6)))
    assert sorted(reply.status_code for reply in replies) == [201, 409, 409, 409, 409, 409]
    page = (await door.client.get("/v1/keys", params={"family_id": key_id})).json()["keys"]
    assert [key["generation"] for key in sorted(page, key=lambda key: str(key["generation"]))] == [1, 2]


@pytest.mark.requirement("CG-08")
async def test_a_purge_leaves_nothing_but_the_id_and_the_audit_trail(door: Console) -> None:
    made = await door.create(owner="0wner-word", name="nam3-word", **EVERYTHING)
    key_id = made["key"]["id"]
    door.database.sql(
        f"INSERT INTO key_activity VALUES ('{key_id}', now());"  # noqa: S608
        f"INSERT INTO key_address VALUES ('{key_id}', '192.0.2.0', now());"
        f"INSERT INTO usage_count VALUES (60, '{key_id}', now(), '', 'VALID', 1);"
        "INSERT INTO core (name, url, environment, lease_id, registered_by, pepper_generation, expires_at) VALUES"
        f" ('purged-{key_id[:4].lower()}', 'http://h0st-word', 'test', 'l', '{key_id}', 1, now() + interval '1 hour');"
    )
    await door.client.delete(f"/v1/keys/{key_id}")
    unconfirmed = await act(door, key_id, "purge", confirm="000000000000")
    assert (unconfirmed.status_code, unconfirmed.json()["errors"][0]["location"]) == (400, "body.confirm")
    for _ in range(2):
        assert (await act(door, key_id, "purge", confirm=key_id)).status_code == 200
    left = door.database.sql(
        "SELECT coalesce(string_agg(t::text, ' '), '') FROM (SELECT k::text FROM api_key k UNION ALL SELECT c::text FROM core c"  # noqa: S608
        " UNION ALL SELECT p::text FROM key_credit p UNION ALL SELECT u::text FROM key_activity u"
        " UNION ALL SELECT a::text FROM key_address a UNION ALL SELECT n::text FROM usage_count n) AS t"
        f" WHERE t::text LIKE '%{key_id}%'"
    )
    assert left.count(key_id) == 3  # its row with its lineage, and who registered the Core
    for word in ("0wner-word", "nam3-word", "h0st-word", "192.0.2.0", "OPS-1", "two"):
        assert word not in left
    assert door.database.sql(f"SELECT count(*) FROM key_credit WHERE family_id = '{key_id}'") == "0"  # noqa: S608
    assert (await actions(door, key_id))[-2:] == ["key.delete", "key.purge"]
    assert (await act(door, key_id, "restore")).status_code == 409
    shown = (await door.client.get(f"/v1/keys/{key_id}")).json()
    assert (shown["state"], shown["name"], shown["owner"]) == ("purged", "", "")


async def test_a_purge_of_one_generation_keeps_the_purse_of_the_others(door: Console) -> None:
    key_id = (await door.create(credits={"remaining": 5}))["key"]["id"]
    second = (await act(door, key_id, "rotate")).json()["key"]
    await door.client.delete(f"/v1/keys/{key_id}")
    await act(door, key_id, "purge", confirm=key_id)
    assert (await door.client.get(f"/v1/keys/{second['id']}")).json()["credits"] == {"remaining": 5, "refill": None}


async def only_admin(door: Console, **wish: Any) -> str:
    """The id of an admin key beside which no other is alive."""
    door.database.sql("UPDATE api_key SET state = 'disabled' WHERE state = 'active'")
    return str((await door.create(**(wish or {"scopes": ["admin"]})))["key"]["id"])


@pytest.mark.requirement("CG-08")
@pytest.mark.parametrize("wish", [{"scopes": ["admin"]}, {"roles": ["admin"]}])
async def test_the_last_admin_key_is_not_lost_by_accident(door: Console, wish: dict[str, Any]) -> None:
    key_id = await only_admin(door, **wish)
    refused = [
        await act(door, key_id, "disable"),
        await door.client.delete(f"/v1/keys/{key_id}"),
        await patch(door, key_id, scopes=["cores:read"], roles=[]),
        await act(door, key_id, "purge", confirm=key_id),
    ]
    assert [reply.status_code for reply in refused] == [409] * 4
    assert (await door.client.get(f"/v1/keys/{key_id}")).json()["state"] == "active"
    assert (await act(door, key_id, "disable", allow_last_admin=True)).status_code == 200


@pytest.mark.requirement("CG-08")
async def test_the_last_admin_key_gets_no_earlier_end_by_accident(door: Console) -> None:
    key_id = await only_admin(door)
    soon = "2030-01-01T00:00:00Z"
    refused = [await patch(door, key_id, expires_at=soon), await act(door, key_id, "rotate", ttl_s=60)]
    assert [reply.status_code for reply in refused] == [409] * 2
    assert ["allow_last_admin" in reply.json()["detail"] for reply in refused] == [True] * 2
    assert (await patch(door, key_id, expires_at=soon, allow_last_admin=True)).status_code == 200
    assert (await patch(door, key_id, expires_at="2031-01-01T00:00:00Z")).status_code == 200
    turned = await act(door, key_id, "rotate", ttl_s=60, allow_last_admin=True)
    assert turned.status_code == 201


@pytest.mark.requirement("CG-08", "CG-15")
async def test_a_rotated_last_admin_key_keeps_its_grace_when_its_successor_manages_nothing(door: Console) -> None:
    key_id = await only_admin(door)
    successor = (await act(door, key_id, "rotate")).json()["key"]["id"]
    await act(door, successor, "revoke")
    refused = await act(door, key_id, "end-grace")
    assert (refused.status_code, "its successor cannot" in refused.json()["detail"]) == (409, True)
    await door.create(scopes=["admin"])
    assert (await act(door, key_id, "end-grace")).status_code == 200


async def test_an_admin_key_with_less_than_a_day_left_is_no_other_one(door: Console) -> None:
    key_id = await only_admin(door)
    other = (await door.create(scopes=["admin"], ttl_s=3600))["key"]["id"]
    assert (await act(door, key_id, "disable")).status_code == 409
    await patch(door, other, expires_at=None)
    assert (await act(door, key_id, "disable")).status_code == 200


async def test_an_admin_key_that_has_ended_is_deleted_like_any_other(door: Console) -> None:
    key_id = await only_admin(door)
    door.expire(key_id)
    assert (await door.client.delete(f"/v1/keys/{key_id}")).status_code == 200


async def test_of_two_last_admin_keys_that_are_disabled_at_once_one_stays(door: Console) -> None:
    first = await only_admin(door)
    second = (await door.create(scopes=["admin"]))["key"]["id"]
    replies = await asyncio.gather(act(door, first, "disable"), act(door, second, "disable"))
    assert sorted(reply.status_code for reply in replies) == [200, 409]


async def test_lists_say_whom_to_remind_and_what_nobody_uses(door: Console) -> None:
    soon, used, idle = [
        (await door.create(owner="report", tags=["r"], **wish))["key"]["id"] for wish in ({"ttl_s": 3600}, {}, {})
    ]
    door.database.sql(
        f"UPDATE api_key SET created_at = now() - interval '100 days' WHERE id IN ('{used}', '{idle}');"  # noqa: S608
        f"INSERT INTO key_activity VALUES ('{used}', now() - interval '1 day');"
    )

    async def listed(**query: Any) -> list[str]:
        page = await door.client.get("/v1/keys", params={"owner": "report", "tag": "r", **query})
        return [key["id"] for key in page.json()["keys"]]

    assert await listed(expires_within_s=7200) == [soon]
    assert await listed(unused_for_s=90 * 86_400) == [idle]
    assert (await listed(tag="other"), sorted(await listed())) == ([], sorted([soon, used, idle]))


async def test_an_explanation_names_every_check_and_uses_nothing_up(door: Console) -> None:
    key_id = (await door.create(addresses=["192.0.2.0/24"], credits={"remaining": 1}))["key"]["id"]
    wish = {"scopes": ["cores:read", "admin"], "address": "198.51.100.1", "method": "GET", "core": "docs"}
    found = (await act(door, key_id, "explain", **wish)).json()
    outcomes = {check["name"]: check["outcome"] for check in found["checks"]}
    assert found["code"] == "FORBIDDEN"
    assert outcomes == {
        "not revoked or deleted": "pass",
        "enabled": "pass",
        "not expired": "pass",
        "environment": "pass",
        "address": "fail",
        "method": "pass",
        "core": "pass",
        "scopes": "fail",
        "signature": "pass",
        "limit requests": "unknown",
        "credits": "pass",
    }
    assert (await door.client.get(f"/v1/keys/{key_id}")).json()["credits"]["remaining"] == 1


async def test_a_new_key_waits_for_every_gateway_before_it_uses_a_new_pepper(door: Console) -> None:
    from dataclasses import replace

    from gatehouse.crypto.token import Pepper
    from gatehouse.keys.routes import key_service

    parts = replace(door.parts, pepper=Pepper({1: b"p" * 32, 2: b"q" * 32}, 2))
    door.database.sql("INSERT INTO gateway_worker VALUES ('old', 0, now() + interval '1 minute', '{1}')")
    assert await key_service(parts).writable_generation() == 1
    door.database.sql("UPDATE gateway_worker SET generations = '{1,2}'")
    assert await key_service(parts).writable_generation() == 2
    door.database.sql("DELETE FROM gateway_worker")


async def test_the_status_of_the_pepper_counts_what_each_generation_is_needed_for(door: Console) -> None:
    await door.create()
    found = (await door.client.get("/v1/pepper")).json()
    assert (found["current"], found["writing"]) == (1, 1)
    (only,) = [one for one in found["generations"] if one["generation"] == 1]
    assert (only["held"], only["removable"], only["keys"] >= 1) == (True, False, True)
