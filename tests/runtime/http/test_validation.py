"""JSON bodies of requests to the console: media type, encoding, strict parsing and size limit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gatehouse.errors import BadRequest
from gatehouse.http.validation import parse_json
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.console_client import Console, assert_problem

JSON = {"Content-Type": "application/json"}
NUL = "contains a NUL character or an unpaired surrogate"
DEEP = "is nested more than 16 levels deep"
NOT_UTF8 = "is not UTF-8 text"


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
    assert_problem(reply, 415, "header.content-type", message, fix)
    assert reply.json()["code"] == "unsupported_media_type"


async def test_repeated_content_type_header_is_415(console: Console) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    reply = await console.client.post("/v1/keys", content=b'{"name": "a"}', headers=headers)
    assert_problem(reply, 415, "header.content-type", "is sent more than once", "send it once")


@pytest.mark.parametrize("media_type", ["application/json", "APPLICATION/JSON", 'application/json; charset="UTF-8"'])
async def test_json_media_type_variants_are_accepted(console: Console, media_type: str) -> None:
    reply = await console.client.post("/v1/keys", content=b'{"name": "a"}', headers={"Content-Type": media_type})
    assert reply.status_code == 201


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize(
    ("content", "message", "fix"),
    [
        (
            b'\xef\xbb\xbf{"name":"a"}',
            "begins with a byte order mark",
            "send UTF-8 without a byte order mark (RFC 8259, section 8.1)",
        ),
        (b'{"ttl_s":1e400}', "contains a number that is too large", "send a number that fits in 64 bits"),
        (b'{"ttl_s":' + b"3" * 5000 + b"}", "contains a number with too many digits", "send a number that fits in 64 bits"),
        (b'{"ttl_s":NaN}', "contains NaN, which is not JSON", None),
        ('{"name":"Zoë"}'.encode("latin-1"), NOT_UTF8, "send JSON encoded as UTF-8"),
        (b"\xff\xfe{\x00}\x00", NOT_UTF8, "send JSON encoded as UTF-8"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, DEEP, "send a flatter document"),
        (b"[" * 5000 + b"]" * 5000, DEEP, "send a flatter document"),
        (b'{"name":"a","name":"b"}', 'has the name "name" twice', None),
        (b'{"name":"a","limits":[{"quota":1,"quota":2}]}', 'has the name "quota" twice', None),
        (b'{"name":"\\ud800"}', NUL, None),
        (b'{"name":"\\u0000"}', NUL, None),
        (b'{"a\\u0000":1}', NUL, None),
        (b'{"name":', "is not valid JSON", None),
        (b"null", "must be an object", None),
        (b'"text"', "must be an object", None),
    ],
)
async def test_malformed_json_is_rejected(console: Console, content: bytes, message: str, fix: str | None) -> None:
    reply = await console.client.post("/v1/keys", content=content, headers=JSON)
    error = reply.json()["errors"][0]
    assert (reply.status_code, error["message"]) == (400, message)
    assert fix in (None, error.get("fix"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # A quadratic parser would take minutes.
        (b'"' + b'\\"' * 500_000, "is not valid JSON"),
        (f'{{{",".join(f"{chr(34)}{n}{chr(34)}:1" for n in range(50_000))},"49999":1}}'.encode(), 'has the name "49999" twice'),
    ],
    ids=["unterminated string", "distant duplicate name"],
)
def test_large_malformed_json_is_rejected_in_linear_time(content: bytes, message: str) -> None:
    assert _parse(content) == (None, message)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(), st.lists, max_leaves=8))
def test_strict_parser_agrees_with_json_module(value: Any) -> None:
    parsed, error = _parse(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    assert error in {NUL, NOT_UTF8, DEEP} if error else parsed == value


@given(st.binary(max_size=200))
def test_strict_parser_returns_value_or_bad_request(raw: bytes) -> None:
    parsed, error = _parse(raw)
    assert error or parsed == json.loads(raw)


def _parse(raw: bytes) -> tuple[Any, str]:
    """The parsed value, or the reason for its rejection."""
    try:
        return parse_json(raw), ""
    except BadRequest as error:
        return None, error.errors[0].message


async def test_body_above_the_size_limit_is_not_parsed(console: Console) -> None:
    reply = await console.client.post("/v1/keys", content=b" " * 65_537, headers=JSON)
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


async def test_body_without_content_length_is_bounded(console: Console) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    reply = await console.client.post("/v1/keys", content=chunks(), headers=JSON)
    assert reply.status_code == 413
