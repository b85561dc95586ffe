"""Keys in the management API."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gatehouse.core.tokens import token as apikey

from tests.cases import cases
from tests.runtime.console_client import Console

_CASES = cases(__file__)


async def test_created_key_has_token_and_location(console: Console) -> None:
    limit = {"name": "burst", "quota": 10, "window_s": 60, "burst": 5, "cost": 1}
    properties = {
        "name": "nightly export",
        "customer_id": "billing",
        "scopes": ["cores:read"],
        "cores": ["docs"],
        "limits": [limit],
    }
    reply = await console.post(
        "/v1/keys", json={**properties, "create_customer": True, "ttl_s": 3600}
    )
    assert reply.status_code == 201
    assert reply.headers["cache-control"] == "no-store"
    created = reply.json()
    assert apikey.parse(created["token"], "gtk") is not None
    assert created["token"].startswith(created["key"]["start"])
    assert reply.headers["location"] == f"/v1/keys/{created['key']['id']}"
    assert {name: created["key"][name] for name in properties} == properties
    assert created["key"]["environment"] == "test"
    shown = (await console.get(reply.headers["location"])).json()
    assert shown == created["key"]


async def test_created_key_has_the_default_properties(console: Console) -> None:
    key = (await console.create(name="plain"))["key"]
    assert key["scopes"] == ["cores:read"]
    assert key["limits"] == [
        {"name": "requests", "quota": 600, "window_s": 60, "burst": 600, "cost": 1}
    ]
    assert (key["expires_at"], key["cores"], key["customer_id"]) == (None, [], None)


async def test_expiry_has_microseconds_in_utc(console: Console) -> None:
    key = (await console.create(expires_at="2031-06-01T12:00:00.123456+02:00"))["key"]
    assert key["expires_at"] == "2031-06-01T10:00:00.123456Z"


async def test_second_revocation_keeps_first_date_and_reason(console: Console) -> None:
    key = (await console.create())["key"]
    first = (await console.post(f"/v1/keys/{key['id']}/revoke", json={"reason": "leaked"})).json()
    second = (await console.post(f"/v1/keys/{key['id']}/revoke", json={"reason": "again"})).json()
    assert first["effective"] == "everywhere"
    assert (first["key"]["state"], first["key"]["revoke_reason"], first["key"]["revoked_by"]) == (
        "revoked",
        "leaked",
        "bootstrap",
    )
    assert second["key"] == first["key"]
    events = await console.events(target_id=key["id"])
    assert [event["action"] for event in events] == ["key.revoke", "key.create"]


@pytest.mark.bound("max_staleness_ms")
@pytest.mark.parametrize(
    ("seen_at", "effective"),
    [
        ("now() + interval '1 minute'", "within_bound"),
        ("now() - interval '1 minute'", "everywhere"),
    ],
    ids=["lagging", "silent for twice the bound"],
)
async def test_revocation_waits_for_live_gateways(
    console: Console, seen_at: str, effective: str
) -> None:
    console.sql(f"INSERT INTO gateway_worker VALUES ('slow gateway', 0, {seen_at})")  # noqa: S608
    key = (await console.create())["key"]
    reply = await console.post(f"/v1/keys/{key['id']}/revoke")
    console.sql("DELETE FROM gateway_worker")
    assert reply.json()["effective"] == effective


#: JSON escapes the quotation mark, and the characters have up to four bytes.
_LONG = '\N{GREEK SMALL LETTER OMEGA}"' + "\N{MATHEMATICAL BOLD SMALL A}" * 90
#: Groups of names in ascending order. Within a group, IDs decide.
_ORDERS = {
    "name": (("Anna", "anna"), ("Berta",), (_LONG,)),
    "customer_id": (("Anna", _LONG), ("Berta",), ("anna",)),
    "state": (("Anna", "Berta", _LONG), ("anna",)),
    "scopes": (("Anna", "anna", "Berta", _LONG),),
    "created_at": (("Berta",), ("anna",), ("Anna",), (_LONG,)),
    "last_used_at": (("Anna", "Berta"), (_LONG,), ("anna",)),
    "expires_at": (("anna",), (_LONG,), ("Anna", "Berta")),
}


@pytest.mark.parametrize("sort", _ORDERS)
async def test_sorted_pages_contain_every_key_once_in_both_directions(
    console: Console, sort: str
) -> None:
    tag, customers = f"sorted-by-{sort}", {"Berta": "c1", "anna": "c2"}
    names = {
        await console.create_id(name=name, customer_id=customers.get(name), tags=[tag]): name
        for name in ("Berta", "anna", "Anna", _LONG)
    }
    ids = {name: key_id for key_id, name in names.items()}
    for name, expiry in (("anna", 30), (_LONG, 60)):
        console.sql(
            f"UPDATE api_key SET expires_at = now() + interval '{expiry} days' WHERE id = "  # noqa: S608
            f"'{ids[name]}'"
        )
    console.sql(f"UPDATE api_key SET state = 'disabled' WHERE id = '{ids['anna']}'")  # noqa: S608
    for name, age in (("anna", 1), (_LONG, 2)):
        console.sql(
            f"INSERT INTO key_activity VALUES ('{ids[name]}', now() - interval '{age} days')"  # noqa: S608
        )

    async def pages(order: str) -> list[str]:
        received: list[str] = []
        query: dict[str, Any] = {"tag": tag, "limit": 1, "sort": order}
        while True:
            page = (await console.get("/v1/keys", params=query)).json()
            received += [names[key["id"]] for key in page["keys"]]
            if page["next_cursor"] is None:
                return received
            query["cursor"] = page["next_cursor"]

    ascending = await pages(sort)
    assert ascending == [
        name for group in _ORDERS[sort] for name in sorted(group, key=lambda name: ids[name])
    ]
    assert await pages(f"-{sort}") == ascending[::-1]


@pytest.mark.parametrize(
    "query",
    [
        {"customer": "other"},
        {"search": "cursor"},
        {"customer": "cursor", "sort": "name"},
        {"customer": "cursor", "sort": "-name"},
    ],
)
async def test_key_cursor_of_another_filter_or_order_is_rejected(
    console: Console, query: dict[str, str]
) -> None:
    for customer_id in ("cursor", "cursor", "other"):
        await console.create(customer_id=customer_id)
    listed = {"customer": "cursor", "limit": "1", "sort": "created_at"}
    cursor = (await console.get("/v1/keys", params=listed)).json()["next_cursor"]
    assert (await console.get("/v1/keys", params={**listed, "cursor": cursor})).status_code == 200
    reply = await console.get("/v1/keys", params={**query, "cursor": cursor})
    assert reply.status_code == 400
    [problem] = reply.json()["errors"]
    assert (problem["location"], problem["message"]) == (
        "query.cursor",
        "is not a cursor for this list",
    )
    assert (
        problem["fix"] == "send next_cursor from the previous page, with the same filter and order"
    )


VALID: dict[str, Any] = {"name": "a key"}
LATE = (datetime.now(UTC) + timedelta(days=3651)).strftime("%Y-%m-%dT%H:%M:%SZ")
ONE_LIMIT = {"name": "a", "quota": 1, "window_s": 1}


INVALID: list[Any] = [
    *_CASES["invalid"],
    ({"expires_at": LATE}, "expires_at", "is more than ten years in the future"),
    ({"limits": [ONE_LIMIT] * 11}, "limits", "must have at most "),
    ({"addresses": ["192.0.2.1"] * 51}, "addresses", "must have at most "),
    ({"metadata": {"a": "x" * 501}}, "metadata.a", "must have at most "),
    ({"notes": "x" * 2001}, "notes", "must have at most "),
]


@pytest.mark.parametrize(("broken", "location", "message"), INVALID)
async def test_invalid_member_has_location_and_reason(
    console: Console, broken: dict[str, Any], location: str, message: str
) -> None:
    reply = await console.post("/v1/keys", json={**VALID, **broken})
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["code"] == "bad_request"
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert problem["errors"][0]["location"] == f"body.{location}".rstrip(".")
    assert message in problem["errors"][0]["message"]


async def test_response_contains_no_key_digest(console: Console) -> None:
    created = await console.create()
    shown = await console.get(f"/v1/keys/{created['key']['id']}")
    assert not re.search(r"digest|pepper|hash", shown.text)
    assert created["token"] not in shown.text
