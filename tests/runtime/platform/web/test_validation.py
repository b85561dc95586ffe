"""JSON bodies of requests."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
import pytest
from gatehouse.core.errors import BadRequest
from gatehouse.core.texts import TextClass, matching, single_line
from gatehouse.features.transfer.schemas import ImportedCore, ImportedKey
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.validation import checked, decode_body, validate
from gatehouse.services.console.routes import ENDPOINTS
from gatehouse.services.gateway import routes as gateway
from gatehouse.services.sharing import routes as sharing
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import inspect

from tests.runtime.console_client import Console, assert_problem

JSON = {"Content-Type": "application/json"}
CANARY = "gtk_test_canary_canary_canary"


@pytest.mark.parametrize("media_type", ["text/plain", "application/json-patch+json", ""])
async def test_other_media_type_is_415(console: Console, media_type: str) -> None:
    reply = await console.post(
        "/v1/keys", content=b'{"name": "a"}', headers={"Content-Type": media_type}
    )
    message, fix = "is not application/json", "send Content-Type: application/json"
    assert_problem(reply, 415, "header.content-type", message, fix)
    assert reply.json()["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "media_type", ["application/json", "APPLICATION/JSON", 'application/json; charset="UTF-8"']
)
async def test_json_media_type_variants_are_accepted(console: Console, media_type: str) -> None:
    reply = await console.post(
        "/v1/keys", content=b'{"name": "a"}', headers={"Content-Type": media_type}
    )
    assert reply.status_code == 201


async def test_body_without_content_length_is_bounded(console: Console) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    reply = await console.post("/v1/keys", content=chunks(), headers=JSON)
    assert reply.status_code == 413


class _Limit(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, matching("[a-z]+", "lowercase letters, such as a", max_length=4)]
    quota: Annotated[int, msgspec.Meta(ge=1, le=9)] | None = None
    kind: Literal["fixed", "sliding"] = "fixed"


class _Declared(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[
        str, checked(lambda text: "is reserved" if text == "root" else "", min_length=1)
    ]
    mode: Literal["on", "off"] = "on"
    enabled: bool | None = None
    content: bytes = b""
    wait_s: Annotated[int, msgspec.Meta(ge=300)] = 300
    limits: Annotated[list[_Limit], msgspec.Meta(max_length=2)] | None = None
    tags: dict[
        Annotated[str, matching("[a-z]*", "lowercase letters, such as a")],
        Annotated[str, checked(single_line)],
    ] = {}

    def __post_init__(self) -> None:
        if self.mode == "off" and self.enabled:
            raise ValueError("has contradicting fields")


#: Bodies in addition to a valid name, the location of the problem, its message and its fix. None:
#: any text.
PROBLEMS: list[tuple[dict[str, Any], str, str | None, str | None]] = [
    ({"name": ""}, "body.name", "must not be empty", ""),
    ({"name": 1}, "body.name", "must be a string", ""),
    ({"name": "root"}, "body.name", "is reserved", ""),
    (
        {CANARY: 1},
        f"body.{CANARY[:20]}",
        "is not a known field",
        "remove it, or send one of content, enabled, limits, mode, name, tags, wait_s",
    ),
    (
        {"limits": [{"name": "a", CANARY: 1}]},
        f"body.limits[0].{CANARY[:20]}",
        "is not a known field",
        "remove it, or send one of kind, name, quota",
    ),
    ({"mode": CANARY}, "body.mode", "must be one of off, on", ""),
    ({"mode": "off", "enabled": True}, "body", "has contradicting fields", ""),
    ({"enabled": CANARY}, "body.enabled", "must be true or false", ""),
    ({"content": CANARY}, "body.content", None, None),
    ({"limits": {}}, "body.limits", "must be a list", ""),
    ({"limits": [{"name": "a"}] * 3}, "body.limits", "must have at most 2 items", ""),
    ({"limits": [{}]}, "body.limits[0].name", "is missing", ""),
    ({"limits": [{"name": "a"}, {"name": CANARY}]}, "body.limits[1].name", None, None),
    ({"limits": [{"name": "a", "quota": 0}]}, "body.limits[0].quota", "must be at least 1", ""),
    ({"limits": [{"name": "a", "quota": 2**99}]}, "body.limits[0].quota", "must be at most 9", ""),
    ({"limits": [{"name": "a", "quota": True}]}, "body.limits[0].quota", "must be an integer", ""),
    ({"limits": [{"name": "a", "kind": 1}]}, "body.limits[0].kind", None, None),
    ({"limits": [{"name": "a", "kind": CANARY}]}, "body.limits[0].kind", None, None),
    ({"wait_s": 1}, "body.wait_s", "must be at least 300 seconds (5m)", ""),
    (
        {"tags": {CANARY: "a"}},
        f"body.tags.{CANARY[:20]}",
        "has a name that must be lowercase letters, such as a",
        "",
    ),
    ({"tags": {"a": 1}}, "body.tags.a", "must be a string", ""),
    ({"tags": {"a": " a"}}, "body.tags.a", "must not begin or end with a space", ""),
    ({"name": "\0"}, "body.name", "contains a NUL character", None),
]


@pytest.mark.parametrize(("fields", "location", "message", "fix"), PROBLEMS)
def test_problem_has_a_location_and_a_fix(
    fields: dict[str, Any], location: str, message: str | None, fix: str | None
) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_body(json.dumps({"name": "a", **fields}).encode(), _Declared)
    [problem] = caught.value.errors
    assert problem.location == location
    assert message in (None, problem.message)
    assert fix in (None, problem.fix)
    assert CANARY not in f"{caught.value.public}{problem}"


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"name":"a"}',
        b'{"name":NaN}',
        '{"name":"Zoë"}'.encode("latin-1"),
        b'{"name":"\\ud800"}',
        b'{"name":"a"}{',
        b'{"name":',
        b" ",
        b"null",
        b'{"name":' + b"[" * 50_000,
    ],
)
async def test_malformed_json_is_rejected(console: Console, content: bytes) -> None:
    reply = await console.post("/v1/keys", content=content, headers=JSON)
    error = reply.json()["errors"][0]
    assert (reply.status_code, error["location"].partition(".")[0]) == (400, "body")


@example(b'{"":"","":1e400}')
@example(b'{"":1e400')
@example(b"[1e400," + b"[" * 100_000)
@example(b"[1e400,1" + b"0" * 10_000 + b"]")
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_bad_request(raw: bytes) -> None:
    locations = ["body"]
    try:
        decode_body(raw, object)
    except BadRequest as exc:
        locations = [problem.location for problem in exc.errors]
    assert locations == ["body"]


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


def texts(info: inspect.Type, declared: object, place: str) -> Iterator[tuple[str, object]]:
    """The texts in a type, with their places and classes."""
    match info:
        case inspect.Metadata():
            yield from texts(info.type, (info.extra or {}).get("text", declared), place)
        case inspect.StrType(pattern=pattern):
            yield place, TextClass.IDENTIFIER if pattern else declared
        case inspect.UnionType(types=several):
            for each in several:
                yield from texts(each, declared, place)
        case inspect.TupleType(item_types=several):
            for each in several:
                yield from texts(each, None, place)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            yield from texts(item, None, place)
        case inspect.DictType(key_type=key, value_type=item):
            yield from (*texts(key, None, f"{place}.key"), *texts(item, None, f"{place}.value"))
        case inspect.StructType(fields=fields):
            for field in fields:
                yield from texts(field.type, None, f"{place}.{field.name}")


def test_every_text_of_a_request_declares_its_class() -> None:
    endpoints = (*ENDPOINTS, *gateway.ENDPOINTS, *sharing.ENDPOINTS)
    shapes = {shape for each in endpoints for shape in (each.body, each.query) if shape is not None}
    found = [
        each
        for shape in {*shapes, ImportedKey, ImportedCore}
        for each in texts(inspect.type_info(shape), None, str(shape))
    ]
    assert len(found) > 100
    assert {place for place, declared in found if declared is None} == set()
    assert {declared for _, declared in found} == set(TextClass)
