"""JSON bodies of requests to the console: media type, encoding, strict parsing and size limit."""

from __future__ import annotations

import json
import threading
from typing import Annotated, Any

import msgspec
import pytest
from gatehouse.core.errors import PROBLEMS_MAX, BadRequest
from gatehouse.platform.http.validation import STRINGS_MAX, checked, decode_json, decode_large
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.console_client import Console, assert_problem

JSON = {"Content-Type": "application/json"}
NUL = "contains a NUL character"
NOT_JSON = "is not valid JSON"
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
        (b'{"ttl_s":1e400}', "is too large", "send a number that fits in 64 bits"),
        (b'{"ttl_s":' + b"3" * 5000 + b"}", "is too large", "send a number that fits in 64 bits"),
        (b'{"ttl_s":NaN}', NOT_JSON, None),
        ('{"name":"Zoë"}'.encode("latin-1"), NOT_UTF8, "send JSON encoded as UTF-8"),
        (b"\xff\xfe{\x00}\x00", NOT_UTF8, "send JSON encoded as UTF-8"),
        (b'{"name":"a","name":"b"}', 'has the name "name" twice', None),
        (b'{"name":"a","limits":[{"name":"r","quota":1,"window_s":1,"quota":2}]}', 'has the name "quota" twice', None),
        (b'{"name":"a","n\\u0061me":"b"}', 'has the name "name" twice', None),
        (b'{"name":"\\ud800 is not a character"}', NOT_JSON, None),
        (b'{"name":"\\u0000"}', NUL, None),
        (b'{"name":', NOT_JSON, None),
        (b"null", "must be an object", None),
        (b'"text"', "must be an object", None),
    ],
)
async def test_malformed_json_is_rejected(console: Console, content: bytes, message: str, fix: str | None) -> None:
    reply = await console.client.post("/v1/keys", content=content, headers=JSON)
    error = reply.json()["errors"][0]
    assert (reply.status_code, error["message"]) == (400, message)
    assert fix in (None, error.get("fix"))


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(), st.lists, max_leaves=8))
def test_strict_parser_agrees_with_json_module(value: Any) -> None:
    parsed, error = _parse(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    assert error in {NUL, NOT_UTF8} if error else parsed == value


@given(st.binary(max_size=200))
def test_strict_parser_returns_value_or_bad_request(raw: bytes) -> None:
    parsed, error = _parse(raw)
    assert error or parsed == json.loads(raw)


def _parse(raw: bytes) -> tuple[Any, str]:
    """The parsed value, or the reason for its rejection."""
    try:
        return decode_json(raw, object)[1], ""
    except BadRequest as error:
        return None, error.errors[0].message


@pytest.mark.bound("core.errors:PROBLEMS_MAX")
async def test_number_of_reported_problems_is_bounded(console: Console) -> None:
    body = {f"unknown{number}": 1 for number in range(3000)}
    reply = await console.client.post("/v1/keys", json=body)
    errors = reply.json()["errors"]
    assert (reply.status_code, len(errors)) == (400, PROBLEMS_MAX)
    assert (errors[0]["message"], errors[-1]["message"]) == ("is missing", "more problems are not listed")
    assert len(reply.content) < 16_384


class _Large(msgspec.Struct, forbid_unknown_fields=True):
    text: str = ""
    items: list[str] = []


@pytest.mark.bound("http.validation:STRINGS_MAX", "http.validation:_SMALL_BYTES_MAX")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{" + b",".join(b'"%x":1' % number for number in range(172_000)) + b"}", "contains more than 10,000 strings"),
        (b"{" + b'"text":"",' * 2 * STRINGS_MAX + b'"items":[]}', "contains more than 10,000 strings"),
        (b'{"items":[' + b'"",' * 2 * STRINGS_MAX + b'""]}', "contains more than 10,000 strings"),
        (b'{"items":[' + b'"\\\\",' * 2 * STRINGS_MAX + b'""]}', "contains more than 10,000 strings"),
        (b'{"items":[' + b"[]," * 600_000 + b"[]]}", "must be a string"),
        (b'{"' + b"a" * 1_800_000 + b'":1}', "is not a known field"),
        (b'{"text":' + b"[" * 1_800_000, "must be a string"),
        (b'{"text":' + b"1" * 1_800_000 + b"}", "is too large"),
        (b'"' + b'\\"' * 900_000, NOT_JSON),
        (b'{"text":"' + b"\\ud800" * 300_000 + b'"}', NOT_JSON),
        (b" " * 1_800_000, NOT_JSON),
    ],
    ids=[
        "names",
        "repeated names",
        "strings",
        "backslashes",
        "arrays",
        "name",
        "nesting",
        "digits",
        "quotes",
        "surrogates",
        "spaces",
    ],
)
def test_large_body_that_cannot_be_accepted_has_one_problem(body: bytes, message: str) -> None:
    """The time to decode the body is bounded, because decoding ends at this problem."""
    with pytest.raises(BadRequest) as error:
        decode_json(body, _Large)
    assert [problem.message for problem in error.value.errors] == [message]
    assert len(str(error.value.errors)) < 1000


@pytest.mark.bound("http.validation:_SMALL_BYTES_MAX")
async def test_large_body_is_decoded_in_a_thread() -> None:
    threads: list[int] = []

    def record(_: str) -> str:
        threads.append(threading.get_ident())
        return ""

    kind = msgspec.defstruct("Body", [("text", Annotated[str, checked(record)])])
    for size in (10, 100_000):
        await decode_large(b'{"text":"%s"}' % (b"a" * size), kind)
    assert threads[0] == threading.get_ident() != threads[1]


async def test_body_above_the_size_limit_is_not_parsed(console: Console) -> None:
    reply = await console.client.post("/v1/keys", content=b" " * 65_537, headers=JSON)
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


@pytest.mark.bound("body_max_bytes")
async def test_body_without_content_length_is_bounded(console: Console) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    reply = await console.client.post("/v1/keys", content=chunks(), headers=JSON)
    assert reply.status_code == 413
