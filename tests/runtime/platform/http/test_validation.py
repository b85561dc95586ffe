"""JSON bodies of requests."""

import json
import threading
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
import pytest
from gatehouse.core.errors import PROBLEMS_MAX, BadRequest, Problem
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.validation import (
    PARAMETERS_MAX,
    STRINGS_MAX,
    checked,
    decode_body,
    decode_json,
    decode_large,
    matching,
    validate,
)
from gatehouse.services.console.asgi import ENDPOINTS
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.runtime.console_client import Console, assert_problem, outcome

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
    reply = await console.post(
        "/v1/keys", content=b'{"name": "a"}', headers={"Content-Type": media_type}
    )
    fix = (
        "send JSON encoded as UTF-8, without a charset"
        if "charset" in message
        else "send Content-Type: application/json"
    )
    assert_problem(reply, 415, "header.content-type", message, fix)
    assert reply.json()["code"] == "unsupported_media_type"


async def test_repeated_content_type_header_is_415(console: Console) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    reply = await console.post("/v1/keys", content=b'{"name": "a"}', headers=headers)
    assert_problem(reply, 415, "header.content-type", "is sent more than once", "send it once")


@pytest.mark.parametrize(
    "media_type", ["application/json", "APPLICATION/JSON", 'application/json; charset="UTF-8"']
)
async def test_json_media_type_variants_are_accepted(console: Console, media_type: str) -> None:
    reply = await console.post(
        "/v1/keys", content=b'{"name": "a"}', headers={"Content-Type": media_type}
    )
    assert reply.status_code == 201


MALFORMED = [
    (
        b'\xef\xbb\xbf{"name":"a"}',
        "begins with a byte order mark",
        "send UTF-8 without a byte order mark (RFC 8259, section 8.1)",
    ),
    (b'{"name":"a","ttl_s":1e400}', "is too large", "send a number that fits in 64 bits"),
    (
        b'{"name":"a","ttl_s":' + b"3" * 5000 + b"}",
        "is too large",
        "send a number that fits in 64 bits",
    ),
    (b'{"ttl_s":NaN}', NOT_JSON, None),
    ('{"name":"Zoë"}'.encode("latin-1"), NOT_UTF8, "send JSON encoded as UTF-8"),
    (b"\xff\xfe{\x00}\x00", NOT_UTF8, "send JSON encoded as UTF-8"),
    (b'{"name":"a","name":"b"}', 'has the name "name" twice', None),
    (
        b'{"name":"a","limits":[{"name":"r","quota":1,"window_s":1,"quota":2}]}',
        'has the name "quota" twice',
        None,
    ),
    (b'{"name":"a","n\\u0061me":"b"}', 'has the name "name" twice', None),
    (b'{"name":"\\ud800 is not a character"}', NOT_JSON, None),
    (b'{"name":"\\u0000"}', NUL, None),
    (b'{"name":', NOT_JSON, None),
    (b"null", "must be an object", None),
    (b'"text"', "must be an object", None),
]


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize(("content", "message", "fix"), MALFORMED)
async def test_malformed_json_is_rejected(
    console: Console, content: bytes, message: str, fix: str | None
) -> None:
    reply = await console.post("/v1/keys", content=content, headers=JSON)
    error = reply.json()["errors"][0]
    assert (reply.status_code, error["message"]) == (400, message)
    assert fix in (None, error.get("fix"))


@pytest.mark.parametrize(
    ("content", "location"),
    [
        (b'{\n "name" 1}', "body at line 2, column 9"),
        ('{"é"\n\n"a"}'.encode(), "body at line 3, column 1"),
        (b'{"name":"a"}\nb', "body at line 2, column 1"),
        (b'{"name":NaN}', "body"),
        (b'{"name":"\\ud800"}', "body"),
    ],
)
def test_position_of_a_syntax_error(content: bytes, location: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_body(content, _Declared)
    assert [problem.location for problem in caught.value.errors] == [location]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(), st.lists, max_leaves=8
    )
)
def test_strict_parser_agrees_with_json_module(value: Any) -> None:
    parsed, error = _parse(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    assert error in {NUL, NOT_UTF8} if error else parsed == value


@example(b'{"":"","":1e400}')
@given(st.binary(max_size=200))
def test_strict_parser_returns_value_or_bad_request(raw: bytes) -> None:
    parsed, error = _parse(raw)
    assert error or parsed == json.loads(raw)


def _parse(raw: bytes) -> tuple[Any, str]:
    try:
        return decode_json(raw, object)[1], ""
    except BadRequest as error:
        return None, error.errors[0].message


@pytest.mark.bound("core.errors:PROBLEMS_MAX")
async def test_number_of_reported_problems_is_bounded(console: Console) -> None:
    body = {f"unknown{number}": 1 for number in range(3000)}
    reply = await console.post("/v1/keys", json=body)
    errors = reply.json()["errors"]
    assert (reply.status_code, len(errors)) == (400, PROBLEMS_MAX)
    assert (errors[0]["message"], errors[-1]["message"]) == (
        "is missing",
        "more problems are not listed",
    )
    assert len(reply.content) < 16_384


class _Large(msgspec.Struct, forbid_unknown_fields=True):
    text: str = ""
    items: list[str] = []


LARGE = [
    (
        b"{" + b",".join(b'"%x":1' % number for number in range(172_000)) + b"}",
        "contains more than 10,000 strings",
    ),
    (b"{" + b'"text":"",' * 2 * STRINGS_MAX + b'"items":[]}', "contains more than 10,000 strings"),
    (b'{"items":[' + b'"",' * 2 * STRINGS_MAX + b'""]}', "contains more than 10,000 strings"),
    (b'{"items":[' + b'"\\\\",' * 2 * STRINGS_MAX + b'""]}', "contains more than 10,000 strings"),
    (b'{"items":[' + b"[]," * 600_000 + b"[]]}", "has too many items"),
    (b'{"' + b"a" * 1_800_000 + b'":1}', "is not a known field"),
    (b'{"text":' + b"[" * 1_800_000, "is nested too deeply"),
    (b'{"text":' + b"1" * 1_800_000 + b"}", "is too large"),
    (b'"' + b'\\"' * 900_000, NOT_JSON),
    (b'{"text":"' + b"\\ud800" * 300_000 + b'"}', NOT_JSON),
    (b" " * 1_800_000, NOT_JSON),
]


@pytest.mark.bound("http.validation:STRINGS_MAX", "http.validation:_SMALL_BYTES_MAX")
@pytest.mark.parametrize(
    ("body", "message"),
    LARGE,
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


@pytest.mark.bound("http.validation:PARAMETERS_MAX")
async def test_number_of_parameters_is_bounded(console: Console) -> None:
    reply = await console.get("/v1/keys?" + "&" * PARAMETERS_MAX)
    message = f"has more than {PARAMETERS_MAX} parameters"
    assert_problem(reply, 400, "query", message, "send fewer")


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
    reply = await console.post("/v1/keys", content=b" " * 65_537, headers=JSON)
    assert outcome(reply) == (413, "body_too_large")


@pytest.mark.bound("body_max_bytes")
async def test_body_without_content_length_is_bounded(console: Console) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    reply = await console.post("/v1/keys", content=chunks(), headers=JSON)
    assert reply.status_code == 413


class _Limit(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, matching("[a-z]+", max_length=4)]
    quota: Annotated[int, msgspec.Meta(ge=1, le=9)] | None = None


class _Declared(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[
        str, checked(lambda text: "is reserved" if text == "root" else "", min_length=1)
    ]
    mode: Literal["on", "off"] = "on"
    enabled: bool | None = None
    ratio: Annotated[float, msgspec.Meta(le=1)] = 0.0
    limits: Annotated[list[_Limit], msgspec.Meta(max_length=2)] | None = None
    tags: Annotated[dict[Annotated[str, matching("[a-z]*")], str], msgspec.Meta(max_length=2)] = {}
    pairs: list[tuple[str, int]] = []

    def __post_init__(self) -> None:
        if self.mode == "off" and self.enabled:
            raise ValueError("has contradicting fields")


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 11)
    | st.floats(0, 2)
    | st.sampled_from(["", "a", "A", "on", "off", "root"])
)
_NAMES = st.sampled_from(["name", "quota", "mode", "x", "A"])
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner),
    max_leaves=6,
)
_LIMITS = st.fixed_dictionaries({}, optional={"name": _VALUES, "quota": _VALUES, "x": _VALUES})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": _VALUES,
            "mode": _VALUES,
            "enabled": _VALUES,
            "ratio": _VALUES,
            "limits": st.lists(_LIMITS, max_size=3) | _VALUES,
            "tags": st.dictionaries(_NAMES, st.text("aA", max_size=1)) | _VALUES,
            "pairs": st.lists(st.tuples(_SCALARS, _SCALARS)) | _VALUES,
            "x": _VALUES,
        },
    )
)
def test_every_violation_is_reported_and_nothing_else(body: dict[str, Any]) -> None:
    """A field is reported if and only if a body with this field alone is rejected."""
    problems = _problems(body)
    assume(len(problems) <= PROBLEMS_MAX)
    try:
        msgspec.convert(body, _Declared)
        accepted = body["name"] != "root"
    except msgspec.ValidationError:
        accepted = False
    assert (problems == []) == accepted
    assert _problems_of_value(body) == problems
    expected = {
        f"body.{name}" for name, value in body.items() if _problems({"name": "a", name: value})
    }
    expected |= set() if "name" in body else {"body.name"}
    reported = {
        ".".join(problem.location.split(".")[:2]).partition("[")[0] for problem in problems
    } - {"body"}
    assert reported == expected


def _problems(body: dict[str, Any]) -> list[Problem]:
    try:
        decode_json(json.dumps(body).encode(), _Declared)
    except BadRequest as error:
        return list(error.errors)
    return []


def _problems_of_value(body: dict[str, Any]) -> list[Problem]:
    try:
        validate(body, _Declared, "body")
    except BadRequest as error:
        return list(error.errors)
    return []


def test_nested_problems_are_reported_together() -> None:
    limits = [{"name": "A", "quota": 0}, {"quota": "x", "y": 1}]
    assert [
        (problem.location, problem.message)
        for problem in _problems({"name": "root", "limits": limits, "tags": {"A": 1}})
    ] == [
        ("body.name", "is reserved"),
        ("body.limits[0].name", "does not match the required pattern"),
        ("body.limits[0].quota", "is too small"),
        ("body.limits[1].name", "is missing"),
        ("body.limits[1].quota", "must be an integer"),
        ("body.limits[1].y", "is not a known field"),
        ("body.tags.A", "must be a string"),
        ("body.tags.A", "has a name that does not match the required pattern"),
    ]


_EXAMPLES: tuple[Any, ...] = ({}, [], "text", 1, None, True, [{}], ["text"], {"name": "text"})


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation_id)
def test_types_of_requests_are_supported(endpoint: Endpoint) -> None:
    for kind in (endpoint.body, endpoint.query):
        if kind is not None:
            fields = getattr(kind, "__struct_encode_fields__", ())
            for value in _EXAMPLES:
                for body in (value, dict.fromkeys(fields, value)):
                    with suppress(BadRequest):
                        validate(body, kind, "body")
