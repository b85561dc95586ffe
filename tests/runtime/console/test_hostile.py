"""Malformed requests to the console: each gets one problem document and changes nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from gatehouse.console.asgi import document
from gatehouse.errors import BadRequest
from gatehouse.http import json_body as body

from tests.runtime.console.conftest import Console

JSON = {"Content-Type": "application/json"}
FAR = "3" * 400


async def _refused(reply: Any, console: Console, status: int, location: str, message: str, fix: str) -> None:
    document = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.status_code, document["status"]) == (status, status)
    assert document["errors"] == [{"location": location, "message": message, **({"fix": fix} if fix else {})}]
    assert document["request_id"] == reply.headers["x-request-id"]


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize(
    ("media_type", "message"),
    [
        ("text/plain", "is not application/json"),
        ("application/xml", "is not application/json"),
        ("application/x-www-form-urlencoded", "is not application/json"),
        ("application/json-patch+json", "is not application/json"),
        ("", "is not application/json"),
        ("application/json; charset=iso-8859-1", "names a charset other than UTF-8"),
        ('application/json; charset="utf-16"', "names a charset other than UTF-8"),
    ],
)
async def test_other_media_type_is_415(console: Console, media_type: str, message: str) -> None:
    reply = await console.client.post("/v1/keys", content=b'{"name": "a"}', headers={"Content-Type": media_type})
    fix = "send JSON encoded as UTF-8, without a charset" if "charset" in message else "send Content-Type: application/json"
    await _refused(reply, console, 415, "header.content-type", message, fix)
    assert reply.json()["code"] == "unsupported_media_type"


async def test_body_with_two_media_types_is_415(console: Console) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    reply = await console.client.post("/v1/keys", content=b'{"name": "a"}', headers=headers)
    await _refused(reply, console, 415, "header.content-type", "is sent more than once", "send it once")


@pytest.mark.parametrize("media_type", ["application/json", "APPLICATION/JSON", 'application/json; charset="UTF-8"'])
async def test_json_media_type_variants_are_accepted(console: Console, media_type: str) -> None:
    reply = await console.client.post("/v1/keys", content=b'{"name": "a"}', headers={"Content-Type": media_type})
    assert reply.status_code == 201


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize(
    ("content", "message", "fix"),
    [
        (b'\xef\xbb\xbf{"name":"a"}', "begins with a byte order mark", "send UTF-8 without it (RFC 8259, section 8.1)"),
        (b'{"ttl_s":1e400}', "contains a number that is too large", "send a number that fits in 64 bits"),
        (b'{"ttl_s":' + FAR.encode() + b"}", "contains a number with too many digits", "send a number that fits in 64 bits"),
        ('{"name":"Zoë"}'.encode("latin-1"), "is not UTF-8 text", "send JSON encoded as UTF-8"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, "is nested more than 16 levels deep", "send a flatter document"),
    ],
)
async def test_malformed_body_is_rejected_with_a_reason(console: Console, content: bytes, message: str, fix: str) -> None:
    reply = await console.client.post("/v1/keys", content=content, headers=JSON)
    await _refused(reply, console, 400, "body", message, fix)


def test_unterminated_json_string_is_read_once() -> None:
    # A quadratic parser would take minutes.
    with pytest.raises(BadRequest) as denied:
        body.parse(b'"' + b'\\"' * 500_000)
    assert denied.value.errors[0].message == "is not valid JSON"


def test_distant_duplicate_member_is_rejected() -> None:
    names = ",".join(f'"{number}":1' for number in range(50_000))
    with pytest.raises(BadRequest) as denied:
        body.parse(f'{{{names},"49999":1}}'.encode())
    assert denied.value.errors[0].message == 'has the name "49999" twice'


@pytest.mark.parametrize(
    ("query", "message", "fix"),
    [
        ("owner=%zz", "contains a percent sign without two hexadecimal digits", "write %25 for a percent sign"),
        ("owner=100%", "contains a percent sign without two hexadecimal digits", "write %25 for a percent sign"),
        ("owner=%ff", "is not UTF-8 once it is decoded", "percent-encode text as UTF-8"),
        ("owner=%ed%a0%80", "is not UTF-8 once it is decoded", "percent-encode text as UTF-8"),
        ("owner=%00", "contains a NUL character", "remove it"),
    ],
)
async def test_malformed_query_encoding_is_rejected(console: Console, query: str, message: str, fix: str) -> None:
    reply = await console.client.get(f"https://console.test/v1/keys?{query}")
    await _refused(reply, console, 400, "query", message, fix)


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/audit-events", "/v1/audit-export"])
@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(
    ("instant", "message"),
    [
        ("0001-01-01T00:00:00%2B14:00", "must be between the years 1970 and 2999"),
        ("1969-12-31T23:59:59Z", "must be between the years 1970 and 2999"),
        ("9999-12-31T23:59:59.999999Z", "must be between the years 1970 and 2999"),
        ("2030-02-30T00:00:00Z", "is not a date that exists"),
        ("2030-01-01T00:00:00%2B99:99", "is not a date that exists"),
        ("yesterday", 'must be an RFC 3339 timestamp with a time zone, such as "2031-01-01T00:00:00Z"'),
    ],
)
async def test_unrepresentable_date_is_rejected(console: Console, path: str, name: str, instant: str, message: str) -> None:
    reply = await console.client.get(f"{path}?{name}={instant}")
    await _refused(reply, console, 400, f"query.{name}", message, "")


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1], lambda text: "A" + text[1:], lambda text: text + "A", lambda _: "8J+S"]
)
async def test_modified_cursor_is_rejected(console: Console, change: Any) -> None:
    for _ in range(2):
        await console.create()
    cursor = (await console.client.get("/v1/keys?limit=1")).json()["next_cursor"]
    assert (await console.client.get("/v1/keys", params={"limit": 1, "cursor": cursor})).status_code == 200
    fix = "send next_cursor of the page before, with the same filter"
    for path, sent in (
        ("/v1/keys", change(cursor)),
        ("/v1/cores", cursor),
        ("/v1/audit-events", cursor),
        ("/v1/deliveries", cursor),
    ):
        reply = await console.client.get(path, params={"cursor": sent})
        await _refused(reply, console, 400, "query.cursor", "is not a cursor of this list", fix)


@pytest.mark.parametrize("sent", ['W/"1"', '"0"', '"1', "1", '"1", "2"', '"999999999999999999999"', '"\\u0031"', "**", '"é"'])
async def test_malformed_if_match_changes_nothing(console: Console, sent: str) -> None:
    created = (await console.create())["key"]
    reply = await console.client.patch(
        f"/v1/keys/{created['id']}", json={"owner": "x"}, headers=[(b"If-Match", sent.encode("latin-1"))]
    )
    fix = 'send If-Match: "<version>" with the ETag of GET /v1/keys/{id}, or If-Match: * to overwrite any version'
    await _refused(reply, console, 412, "header.if-match", "is not a version of a key", fix)
    assert (await console.client.get(f"/v1/keys/{created['id']}")).json() == created


async def test_repeated_if_match_changes_nothing(console: Console) -> None:
    created = (await console.create())["key"]
    headers = [("If-Match", '"1"'), ("If-Match", "*")]
    reply = await console.client.patch(f"/v1/keys/{created['id']}", json={"owner": "x"}, headers=headers)
    await _refused(reply, console, 400, "header.if-match", "is sent more than once", "send it once, with one version")
    assert (await console.client.get(f"/v1/keys/{created['id']}")).json() == created


@pytest.mark.parametrize("sent", [b'"' + b"k" * 256 + b'"', b'"a"b"', b'"tab\there"', b'"\xe9"', b"bare", b'""', b'"open'])
async def test_malformed_idempotency_key_creates_nothing(console: Console, sent: bytes) -> None:
    before = console.database.sql("SELECT count(*) FROM api_key")
    reply = await console.client.post("/v1/keys", json={"name": "a"}, headers=[(b"Idempotency-Key", sent)])
    fix = 'send Idempotency-Key: "<uuid>", including the quotes, with at most 255 printable ASCII characters'
    await _refused(reply, console, 400, "header.idempotency-key", "is not a string in double quotes", fix)
    assert console.database.sql("SELECT count(*) FROM api_key") == before


async def test_five_hundred_headers_do_not_change_the_response(console: Console) -> None:
    headers = {f"X-More-{number}": "x" * 50 for number in range(500)}
    assert (await console.client.get("/v1/features", headers=headers)).status_code == 200


@pytest.mark.parametrize("part", ["%00", "%ff", "%f0%9f%92%a3", "%2e%2e%2f", "a" * 5000, "'; DROP TABLE api_key; --"])
async def test_malformed_key_id_is_not_found(console: Console, part: str) -> None:
    for method, path in (
        ("GET", "/v1/keys/{}/usage"),
        ("DELETE", "/v1/webhooks/{}"),
        ("POST", "/v1/deliveries/x/{}/retry"),
        ("POST", "/v1/deliveries/{}/x/retry"),
        ("DELETE", "/v1/sessions/{}"),
    ):
        reply = await console.client.request(method, path.format(part))
        assert (reply.status_code, reply.json()["code"]) in {(404, "not_found"), (405, "method_not_allowed")}, (method, path)


async def test_undocumented_method_is_405_with_allow_header(console: Console) -> None:
    for path, item in document()["paths"].items():
        if path.startswith("/v1/sessions/"):
            continue  # two templates match /v1/sessions/current
        allowed = {method.upper() for method in item}
        for method in {"GET", "PUT", "POST", "PATCH", "DELETE", "TRACE", "PURGE"} - allowed:
            reply = await console.client.request(method, re.sub(r"\{.*?\}", "x", path))
            assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")
            assert set(reply.headers["allow"].split(", ")) == allowed
