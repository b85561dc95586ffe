"""Key lifecycle in the management API, on a real database."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import pytest
from gatehouse.core.actor import Actor
from gatehouse.core.keys import KeyId
from gatehouse.core.lifecycle import GENERATIONS_MAX
from gatehouse.core.roles import OWNERS
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.keys import repository
from gatehouse.features.keys.fields import KeySettings
from gatehouse.platform.web.validation import strings

from tests.runtime.console_client import Console, outcome, rejected_part
from tests.runtime.core_records import register
from tests.runtime.rows import contact_row, customer_row


async def act(console: Console, key_id: str, action: str, **properties: Any) -> httpx.Response:
    return await console.post(f"/v1/keys/{key_id}/{action}", json=properties)


async def patch(
    console: Console, key_id: str, match: str = "*", **properties: Any
) -> httpx.Response:
    return await console.patch(f"/v1/keys/{key_id}", json=properties, headers={"If-Match": match})


async def actions(console: Console, key_id: str) -> list[str]:
    events = await console.events(target_id=key_id)
    return [event["action"] for event in reversed(events)]


EVERYTHING: dict[str, Any] = {
    **{name: value for name, value in KeySettings.example.items() if name != "name"},
    "credits": {"remaining": 7, "refill": {"amount": 10, "every": "day"}},
}


async def test_update_changes_only_the_given_properties(console: Console) -> None:
    console.sql(contact_row() + ";" + customer_row(id="'me'", name="'Me'"))
    before = (await console.create(**EVERYTHING))["key"]
    limit = {"name": "burst", "quota": 9, "window_s": 60, "burst": 3, "cost": 2}
    reply = await patch(
        console,
        before["id"],
        '"1"',
        customer_id="me",
        limits=[limit],
        credits=None,
        expires_at="2031-01-01T00:00:00Z",
    )
    after = reply.json()["key"]
    assert (reply.status_code, reply.headers["etag"]) == (200, '"2"')
    changed = {
        "customer_id": "me",
        "customer_name": "Me",
        "inherits": ["scopes"],
        "limits": [limit],
        "credits": None,
        "expires_at": "2031-01-01T00:00:00Z",
        "version": 2,
    }
    assert after == {**before, **changed}
    assert (await console.get(f"/v1/keys/{before['id']}")).json() == after


async def test_limits_of_a_key_return_to_the_default(console: Console) -> None:
    default = (await console.create())["key"]["limits"]
    limit = {"name": "daily", "quota": 9, "window_s": 86_400}
    key = (await console.create(limits=[limit]))["key"]
    assert key["limits"] != default
    assert (await patch(console, key["id"], limits=None)).json()["key"]["limits"] == default


async def test_second_update_of_the_same_version_is_412(console: Console) -> None:
    key = (await console.create())["key"]
    replies = await asyncio.gather(
        *(patch(console, key["id"], '"1"', notes=name) for name in ("a", "b", "c"))
    )
    assert sorted(reply.status_code for reply in replies) == [200, 412, 412]
    assert (await actions(console, key["id"])) == ["key.create", "key.update"]


async def test_update_without_if_match_is_428(console: Console) -> None:
    key = (await console.create())["key"]
    reply = await console.patch(f"/v1/keys/{key['id']}", json={"notes": "mine"})
    assert outcome(reply) == (428, "precondition_required")
    assert "If-Match" in reply.json()["errors"][0]["fix"]


@pytest.mark.parametrize("properties", [{}, {"name": None}, {"limits": []}])
async def test_empty_update_is_rejected(console: Console, properties: dict[str, Any]) -> None:
    key = (await console.create())["key"]
    assert (await patch(console, key["id"], **properties)).status_code == 400


async def test_disable_and_enable_are_idempotent(console: Console) -> None:
    key_id = await console.create_id()
    for what, state in (
        ("disable", "disabled"),
        ("disable", "disabled"),
        ("enable", "active"),
        ("enable", "active"),
    ):
        reply = await act(console, key_id, what)
        assert (reply.status_code, reply.json()["key"]["state"]) == (200, state)
    assert await actions(console, key_id) == ["key.create", "key.disable", "key.enable"]


@pytest.mark.parametrize("before", ["active", "disabled", "revoked"])
async def test_restored_key_has_its_previous_state(console: Console, before: str) -> None:
    key_id = await console.create_id()
    if before != "active":
        await act(console, key_id, {"disabled": "disable", "revoked": "revoke"}[before])
    was = (await console.get(f"/v1/keys/{key_id}")).json()
    gone = (await console.delete(f"/v1/keys/{key_id}")).json()["key"]
    assert (gone["state"], gone["deleted_by"]) == ("deleted", "bootstrap")
    back = (await act(console, key_id, "restore")).json()["key"]
    assert back == {**was, "version": back["version"]}


async def test_key_is_not_restored_after_30_days(console: Console) -> None:
    key_id = await console.create_id()
    await console.delete(f"/v1/keys/{key_id}")
    console.sql(
        f"UPDATE api_key SET deleted_at = now() - interval '31 days' WHERE id = '{key_id}'"  # noqa: S608
    )
    reply = await act(console, key_id, "restore")
    assert (reply.status_code, "30 days" in reply.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("first", "then"),
    [("", "purge"), ("disable", "rotate"), ("revoke", "enable"), ("delete", "revoke")],
)
async def test_action_not_allowed_in_state_is_409(console: Console, first: str, then: str) -> None:
    key_id = await console.create_id()
    if first == "delete":
        await console.delete(f"/v1/keys/{key_id}")
    elif first:
        await act(console, key_id, first)
    reply = await act(console, key_id, then, **({"confirm": key_id} if then == "purge" else {}))
    assert reply.status_code == 409
    assert reply.json()["detail"].startswith("The key is ")


async def test_rotated_key_is_valid_during_its_grace_period(console: Console) -> None:
    created = await console.create(
        scopes=["admin"], ttl_s=86_400, **{name: EVERYTHING[name] for name in ("tags", "credits")}
    )
    reply = await act(console, created["key"]["id"], "rotate", grace_s=90)
    rotated = reply.json()
    old, new = rotated["previous"], rotated["key"]
    assert (reply.status_code, reply.headers["location"]) == (201, f"/v1/keys/{new['id']}")
    assert seconds(old["expires_at"]) - seconds(old["rotated_at"]) == pytest.approx(90, abs=1e-5)
    assert (old["successor_id"], new["family_id"], new["generation"]) == (
        new["id"],
        created["key"]["id"],
        2,
    )
    assert (new["tags"], new["credits"], new["scopes"]) == (
        created["key"]["tags"],
        created["key"]["credits"],
        ["admin"],
    )
    assert await actions(console, old["id"]) == ["key.create", "key.rotate"]
    for token in (created["token"], rotated["token"]):
        assert (await console.get("/v1/keys", headers=console.as_(token))).status_code == 200
    assert (await act(console, old["id"], "revoke")).status_code == 200
    assert (await console.get("/v1/keys", headers=console.as_(created["token"]))).status_code == 401
    assert (await console.get("/v1/keys", headers=console.as_(rotated["token"]))).status_code == 200


def seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


async def test_grace_period_ends_at_the_original_expiry(console: Console) -> None:
    key = (await console.create(ttl_s=60))["key"]
    rotated = (await act(console, key["id"], "rotate", grace_s=86_400)).json()
    assert rotated["previous"]["expires_at"] == key["expires_at"]
    lived = seconds(rotated["key"]["expires_at"]) - seconds(rotated["key"]["created_at"])
    assert lived == pytest.approx(60, abs=1e-5)
    longer = await patch(console, key["id"], expires_at="2031-01-01T00:00:00Z")
    assert rejected_part(longer) == (400, "body.expires_at")


async def test_second_rotation_ends_the_first_grace_period(console: Console) -> None:
    first = (await console.create())["key"]
    second = (await act(console, first["id"], "rotate")).json()["key"]
    third = (await act(console, second["id"], "rotate")).json()
    again = await act(console, first["id"], "rotate")
    assert (again.status_code, second["id"] in again.json()["detail"]) == (409, True)
    page = (await console.get("/v1/keys", params={"family_id": first["id"]})).json()["keys"]
    ends = {key["generation"]: key["expires_at"] for key in page}
    assert ends[1] == third["previous"]["rotated_at"]
    assert seconds(ends[2]) > seconds(third["previous"]["rotated_at"])
    assert ends[3] is None


async def test_expired_key_is_not_rotated(console: Console) -> None:
    key_id = await console.create_id()
    console.sql("UPDATE api_key SET expires_at = now()")
    reply = await act(console, key_id, "rotate")
    assert (reply.status_code, "expired" in reply.json()["detail"]) == (409, True)


@pytest.mark.bound("core.lifecycle:GENERATIONS_MAX")
async def test_number_of_rotations_is_limited(console: Console) -> None:
    key_id = (await console.create())["key"]["id"]
    console.database.sql(
        f"UPDATE api_key SET generation = {GENERATIONS_MAX} - 1 WHERE id = '{key_id}'"  # noqa: S608
    )
    last = (await act(console, key_id, "rotate")).json()["key"]["id"]
    reply = await act(console, last, "rotate")
    assert (reply.status_code, "create a new key" in reply.json()["detail"]) == (409, True)


async def test_only_one_concurrent_rotation_succeeds(console: Console) -> None:
    key_id = await console.create_id()
    replies = await asyncio.gather(*(act(console, key_id, "rotate") for _ in range(6)))
    assert sorted(reply.status_code for reply in replies) == [201, 409, 409, 409, 409, 409]
    page = (await console.get("/v1/keys", params={"family_id": key_id})).json()["keys"]
    assert [key["generation"] for key in sorted(page, key=lambda key: str(key["generation"]))] == [
        1,
        2,
    ]


async def test_purge_leaves_only_the_id_and_the_audit_trail(console: Console) -> None:
    console.sql(contact_row())
    created = await console.create(name="nam3-word", **EVERYTHING)
    key_id = created["key"]["id"]
    console.sql(
        f"INSERT INTO key_activity VALUES ('{key_id}', now());"  # noqa: S608
        f"INSERT INTO usage_count VALUES (60, '{key_id}', now(), '', 'VALID', 1);INSERT INTO core "
        "(name, url, environment, lease_id, registered_by, pepper_generation, expires_at) VALUES "
        f"('purged-{key_id[:4].lower()}', 'http://h0st-word', 'test', 'l', '{key_id}', 1, now() + "
        "interval '1 hour');"
    )
    await console.delete(f"/v1/keys/{key_id}")
    unconfirmed = await act(console, key_id, "purge", confirm="000000000000")
    assert rejected_part(unconfirmed) == (400, "body.confirm")
    for _ in range(2):
        assert (await act(console, key_id, "purge", confirm=key_id)).status_code == 200
    left = console.sql(
        "SELECT coalesce(string_agg(t::text, ' '), '') FROM (SELECT k::text FROM api_key k "  # noqa: S608
        "UNION ALL SELECT c::text FROM core c UNION ALL SELECT p::text FROM key_credit p UNION ALL "
        "SELECT u::text FROM key_activity u UNION ALL SELECT n::text FROM usage_count n) AS t "
        f"WHERE t::text LIKE '%{key_id}%'"
    )
    assert left.count(key_id) == 3  # its row, its key family, and the registration of the Core
    for word in ("nam3-word", "h0st-word", *(text for _, text in strings(EVERYTHING, ""))):
        assert word not in left
    assert (
        console.sql(f"SELECT count(*) FROM key_credit WHERE family_id = '{key_id}'") == "0"  # noqa: S608
    )
    assert (await actions(console, key_id))[-2:] == ["key.delete", "key.purge"]
    assert (await act(console, key_id, "restore")).status_code == 409
    shown = (await console.get(f"/v1/keys/{key_id}")).json()
    assert (shown["state"], shown["name"], shown["customer_id"]) == ("purged", "", None)


async def test_purge_of_a_generation_preserves_shared_credits(console: Console) -> None:
    key_id = await console.create_id(credits={"remaining": 5})
    second = (await act(console, key_id, "rotate")).json()["key"]
    await console.delete(f"/v1/keys/{key_id}")
    await act(console, key_id, "purge", confirm=key_id)
    assert (await console.get(f"/v1/keys/{second['id']}")).json()["credits"] == {
        "remaining": 5,
        "refill": None,
    }


async def test_last_purge_of_a_family_forgets_its_counters(console: Console) -> None:
    first = await console.create_id()
    second = (await act(console, first, "rotate")).json()["key"]["id"]
    forgotten = list[str]()

    async def forget(subject: str) -> bool:
        forgotten.append(subject)
        return True

    keys = console.composition.key_service(forget=forget)
    actor = Actor(type="bootstrap", id="bootstrap")
    for key_id, counters_removed in ((first, False), (second, True), (second, True)):
        await act(console, key_id, "revoke")
        done = await keys.purge(KeyId(key_id), key_id, "", actor, OWNERS)
        assert done[1] is counters_removed
    assert forgotten == [first, first]


async def only_admin(console: Console) -> str:
    console.sql("UPDATE api_key SET state = 'disabled' WHERE state = 'active'")
    return await console.create_id(scopes=["admin"])


async def test_last_admin_key_cannot_be_disabled_but_revoked(console: Console) -> None:
    key_id = await only_admin(console)
    denied = [
        await act(console, key_id, "disable"),
        await console.delete(f"/v1/keys/{key_id}"),
        await patch(console, key_id, scopes=["cores:read"]),
        await act(console, key_id, "purge", confirm=key_id),
    ]
    assert [reply.status_code for reply in denied] == [409] * 4
    assert (await console.get(f"/v1/keys/{key_id}")).json()["state"] == "active"
    assert (await patch(console, key_id, name="still an admin")).status_code == 200
    assert (await act(console, key_id, "revoke")).status_code == 200


async def test_earlier_expiry_of_last_admin_key_is_rejected(console: Console) -> None:
    key_id = await only_admin(console)
    soon = "2030-01-01T00:00:00Z"
    assert (await patch(console, key_id, expires_at=soon)).status_code == 409
    assert (await act(console, key_id, "rotate")).status_code == 201


async def test_admin_key_expiring_within_a_day_does_not_count(console: Console) -> None:
    key_id = await only_admin(console)
    other = await console.create_id(scopes=["admin"], ttl_s=3600)
    assert (await act(console, key_id, "disable")).status_code == 409
    await patch(console, other, expires_at=None)
    assert (await act(console, key_id, "disable")).status_code == 200


async def test_expired_admin_key_can_be_deleted(console: Console) -> None:
    key_id = await only_admin(console)
    console.expire(key_id)
    assert (await console.delete(f"/v1/keys/{key_id}")).status_code == 200


async def test_concurrent_disables_leave_one_admin_key(console: Console) -> None:
    first = await only_admin(console)
    second = await console.create_id(scopes=["admin"])
    replies = await asyncio.gather(act(console, first, "disable"), act(console, second, "disable"))
    assert sorted(reply.status_code for reply in replies) == [200, 409]


async def test_list_filters_by_expiry_and_last_use(console: Console) -> None:
    soon, used, idle = [
        await console.create_id(customer_id="report", tags=["r"], **properties)
        for properties in ({"ttl_s": 3600}, {}, {})
    ]
    console.sql(
        f"UPDATE api_key SET created_at = now() - interval '100 days' WHERE id IN ('{used}', "  # noqa: S608
        f"'{idle}');INSERT INTO key_activity VALUES ('{used}', now() - interval '1 day');"
    )

    async def listed(**query: Any) -> list[str]:
        page = await console.get("/v1/keys", params={"customer": "report", "tag": "r", **query})
        return [key["id"] for key in page.json()["keys"]]

    assert await listed(expires_within_s=7200) == [soon]
    assert await listed(unused_for_s=90 * 86_400) == [idle]
    assert (await listed(tag="other"), sorted(await listed())) == ([], sorted([soon, used, idle]))
    console.expire(soon)
    assert (await act(console, idle, "revoke")).status_code == 200
    for state, key_id in {"active": used, "expired": soon, "revoked": idle}.items():
        assert await listed(state=state) == [key_id]


@pytest.mark.bound("keys.repository:CUSTOMERS_MAX")
@pytest.mark.parametrize("customers_max", [0, repository.CUSTOMERS_MAX])
async def test_search_finds_part_of_the_name_or_customer_literally(
    console: Console, monkeypatch: pytest.MonkeyPatch, customers_max: int
) -> None:
    """Also if more customers match than the IDs that are parameters of the query."""
    monkeypatch.setattr(repository, "CUSTOMERS_MAX", customers_max)
    await console.post("/v1/customers", json={"id": "ops", "name": "Größe & Söhne"})
    tag = f"search{customers_max}"
    names = {
        await console.create_id(name=name, customer_id=customer, tags=[tag]): name
        for name, customer in (
            ("Nightly export", "Billing"),
            ("nightly_50%", "ops"),
            ("Übersicht", "audit"),
            ("other\\", "ops"),
        )
    }

    async def found(search: str, **query: Any) -> list[str]:
        page = await console.get("/v1/keys", params={"search": search, "tag": tag, **query})
        assert page.status_code == 200, page.text
        return sorted(names[key["id"]] for key in page.json()["keys"])

    assert await found("NIGHT") == ["Nightly export", "nightly_50%"]
    assert await found("billing") == ["Nightly export"]
    for text in ("ops", "op", "RößE & S", "gr"):
        assert (text, await found(text)) == (text, ["nightly_50%", "other\\"])
    assert (await found("y_5"), await found("50%"), await found("er\\")) == (
        ["nightly_50%"],
        ["nightly_50%"],
        ["other\\"],
    )
    assert (await found("ÜBER"), await found("")) == (["Übersicht"], sorted(names.values()))
    # One or two characters are compared with the beginning. IDs have no other characters than ASCII
    # letters and digits.
    assert (await found("Ü"), await found("ÜB")) == (["Übersicht"], ["Übersicht"])
    assert (await found("\\"), await found("r\\")) == ([], [])
    assert (await found("t' OR 'a' = 'a"), await found("night", customer="GRößE & SöHNE")) == (
        [],
        ["nightly_50%"],
    )
    reply = await console.get("/v1/keys", params={"search": "n" * 101})
    assert rejected_part(reply) == (400, "query.search")


async def test_search_finds_the_beginning_of_an_id_and_of_a_token_and_a_tag(
    console: Console,
) -> None:
    created = await console.create(name="found by its ID", tags=["found-by-tag"], ttl_s=60)
    key_id, start = created["key"]["id"], created["key"]["start"]
    other = await console.create(name=f"successor of {start[:-1]}")

    async def found(search: str) -> list[str]:
        page = await console.get("/v1/keys", params={"search": search, "total": "true"})
        assert page.status_code == 200, page.text
        ids = [key["id"] for key in page.json()["keys"]]
        assert page.json()["total"] == len(ids)
        return ids

    assert [await found(text) for text in (key_id, start, start[:-1], "found-by-tag")] == [
        [key_id]
    ] * 4
    assert key_id in await found(key_id[:3])
    assert (await found(key_id[1:]), await found(f"acme_test_{key_id}")) == ([], [])
    assert (await found("by-tag"), await found("successor of gtk_")) == ([], [other["key"]["id"]])
    reply = await console.get("/v1/keys", params={"search": created["token"]})
    assert reply.status_code == 400
    assert (await console.get("/v1/keys")).json()["total"] is None


async def test_explanation_lists_every_check_and_is_free(console: Console) -> None:
    key_id = (await console.create(addresses=["192.0.2.0/24"], credits={"remaining": 1}))["key"][
        "id"
    ]
    properties = {
        "scopes": ["cores:read", "admin"],
        "address": "198.51.100.1",
        "method": "GET",
        "core": "docs",
    }
    result = (await act(console, key_id, "explain", **properties)).json()
    outcomes = {check["name"]: check["outcome"] for check in result["checks"]}
    assert result["code"] == "FORBIDDEN"
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
        "limit": "unknown",
        "credits": "pass",
    }
    assert (await console.get(f"/v1/keys/{key_id}")).json()["credits"]["remaining"] == 1


async def test_explanation_lists_headers_that_a_core_does_not_receive(console: Console) -> None:
    key_id = await console.create_id()
    settings: dict[str, Any] = {"remove_headers": ["x-internal-*"], "key_header": "A"}
    settings |= {"forward_authorization": True}
    await register(console, "explained", settings=settings)
    await register(console, "hosted", settings={"credential_header": "Api-Token"})
    names = ["Accept", "X-Internal-User", "X-Remote-User", "X-API-Key", "A", "Authorization"]
    names += ["Connection", "Gatehouse-Key-Id", "X_Internal_User", "API-Token"]
    default = {"X-Remote-User", "X_Internal_User", "X-API-Key", "Authorization"}
    for core, removed in (
        ("explained", {"X-Internal-User", "X_Internal_User", "A"}),
        ("unknown", default),
        ("hosted", {*default, "API-Token"}),
    ):
        result = await act(console, key_id, "explain", core=core, headers=names)
        expected = {*removed, "Connection", "Gatehouse-Key-Id"}
        assert set(result.json()["removed_headers"]) == expected
    refused = await act(console, key_id, "explain", headers=["a: b"])
    assert refused.json()["errors"][0]["location"] == "body.headers[0]"


async def test_new_pepper_is_used_once_every_gateway_reads_it(console: Console) -> None:
    keys = replace(
        console.composition.key_service(), pepper=Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)
    )
    console.sql("INSERT INTO gateway_worker VALUES ('old', 0, now() + interval '1 minute', '{1}')")
    assert await keys.writable_generation() == 1
    console.sql("UPDATE gateway_worker SET generations = '{1,2}'")
    assert await keys.writable_generation() == 2
    console.sql("DELETE FROM gateway_worker")
