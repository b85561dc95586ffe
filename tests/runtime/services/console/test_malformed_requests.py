"""Malformed requests to the console: each gets one problem document and changes nothing."""

from typing import Any

import pytest

from tests.runtime.console_client import Console, assert_problem, outcome, rejected_part


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("limit=0", "query.limit"),
        ("limit=x", "query.limit"),
        ("x=1", "query.x"),
        ("customer=a&customer=b", "query.customer"),
    ],
)
async def test_invalid_query_parameter_is_named(
    console: Console, query: str, location: str
) -> None:
    reply = await console.get(f"/v1/keys?{query}")
    assert rejected_part(reply) == (400, location)


@pytest.mark.parametrize(
    "instant",
    [
        *("0001-01-01T00:00:00%2B14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"),
        *("2030-02-30T00:00:00Z", "2030-01-01T00:00:00%2B99:99", "yesterday"),
    ],
)
async def test_unrepresentable_date_is_rejected(console: Console, instant: str) -> None:
    for path, name in (("usage", "since"), ("audit-events", "until"), ("audit-export", "since")):
        reply = await console.get(f"/v1/{path}?{name}={instant}")
        assert rejected_part(reply) == (400, f"query.{name}")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: ("A" if text[0] != "A" else "B") + text[1:],
        lambda text: text + "A",
        lambda _: "8J+S",
    ],
)
async def test_modified_cursor_is_rejected(console: Console, change: Any) -> None:
    for _ in range(2):
        await console.create()
    cursor = (await console.get("/v1/keys?limit=1")).json()["next_cursor"]
    assert (await console.get("/v1/keys", params={"limit": 1, "cursor": cursor})).status_code == 200
    fix = "send next_cursor from the previous page, with the same filter and order"
    for path, sent in (
        ("/v1/keys", change(cursor)),
        ("/v1/cores", cursor),
        ("/v1/audit-events", cursor),
        ("/v1/deliveries", cursor),
    ):
        reply = await console.get(path, params={"cursor": sent})
        assert_problem(reply, 400, "query.cursor", "is not a cursor for this list", fix)


@pytest.mark.parametrize(
    "sent", ['W/"1"', '"0"', '"1', '"1", "2"', '"999999999999999999999"', '"é"']
)
async def test_malformed_if_match_changes_nothing(console: Console, sent: str) -> None:
    created = (await console.create())["key"]
    reply = await console.patch(
        f"/v1/keys/{created['id']}",
        json={"notes": "x"},
        headers=[(b"If-Match", sent.encode("latin-1"))],
    )
    fix = (
        'send If-Match: "<version>" with the ETag that was read, or If-Match: * to overwrite '
        "any version"
    )
    assert_problem(reply, 412, "header.if-match", "is not a version of this resource", fix)
    assert (await console.get(f"/v1/keys/{created['id']}")).json() == created


@pytest.mark.parametrize("part", ["%00", "%ff", "%2e%2e%2f", "'; DROP TABLE api_key; --"])
async def test_malformed_key_id_is_not_found(console: Console, part: str) -> None:
    for method, path in (
        ("DELETE", "/v1/webhooks/{}"),
        ("POST", "/v1/deliveries/x/{}/retry"),
        ("POST", "/v1/deliveries/{}/x/retry"),
        ("DELETE", "/v1/sessions/{}"),
    ):
        reply = await console.request(method, path.format(part))
        assert outcome(reply) in {(404, "not_found"), (405, "method_not_allowed")}, (method, path)
