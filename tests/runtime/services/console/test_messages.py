"""Messages about wrong values: in the words of people, once, and about all fields of a request."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from gatehouse.core.errors import BadRequest
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.validation import PROBLEMS_MAX, decode_body, parts
from gatehouse.services.console.routes import ENDPOINTS
from gatehouse.services.gateway import routes as gateway
from gatehouse.services.sharing import routes as sharing
from msgspec import inspect

from tests.runtime.console_client import Console

#: Parts of regular expressions, of JSON pointers and of the messages of libraries.
MACHINE_TEXT = re.compile(
    r"regex|\(\?|\^|\\[Zx]|\[\^?[a-zA-Z0-9]-|\{\d+,|\$\.|/properties/|`\w+` of|Expected"
)
#: Not a value of any pattern or check.
WRONG_TEXT = "Ä !"
SEND = [each for each in ENDPOINTS if each.body is not None or each.query is not None]


def wrong(info: inspect.Type, place: str) -> tuple[Any, list[str]]:
    """A wrong value, and the locations that its error has to name."""
    match info:
        case inspect.Metadata():
            return wrong(info.type, place)
        case inspect.UnionType(types=types):
            return wrong(
                next(each for each in types if not isinstance(each, inspect.NoneType)), place
            )
        case inspect.StructType(fields=fields):
            values = {
                field.encode_name: wrong(field.type, f"{place}.{field.encode_name}")
                for field in fields
            }
            places = [each for _, inner in values.values() for each in inner]
            return {name: value for name, (value, _) in values.items()}, places
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            value, places = wrong(item, f"{place}[0]")
            return [value], places
        case inspect.IntType(ge=int(bound)):
            return bound - 1, [place]
        case inspect.StrType(max_length=most):
            return WRONG_TEXT.ljust((most or 0) + 1, "x"), [place]
        case inspect.LiteralType() | inspect.EnumType() | inspect.IntType():
            return WRONG_TEXT, [place]
        case inspect.DictType():
            return {WRONG_TEXT: "a"}, [f"{place}.{WRONG_TEXT}"]
    return {"a": 1}, [place]


def readable(text: str, values: Iterable[str] = ()) -> None:
    assert not MACHINE_TEXT.search(text), text
    assert "Ä" not in text
    sentences = [each.strip(" .") for each in re.split(r"(?<=\w)[.;] |\n", text) if len(each) > 20]
    assert [each for each, times in Counter(sentences).items() if times > 1] == []


def in_query(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: list(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in values.items()
    }


@pytest.mark.parametrize("endpoint", SEND, ids=lambda endpoint: endpoint.operation_id)
async def test_every_wrong_field_is_named_once_for_people(
    console: Console, endpoint: Endpoint
) -> None:
    path = re.sub(r"{\w+}", "3fGh82kLmQ0a", endpoint.path)
    for shape, part in ((endpoint.body, "body"), (endpoint.query, "query")):
        if shape is None:
            continue
        value, places = wrong(inspect.type_info(shape), part)
        sent: dict[str, Any] = (
            {"json": value, "headers": {"If-Match": "*"}}
            if part == "body"
            else {"params": in_query(value)}
        )
        reply = await console.request(endpoint.method, path, **sent)
        problem = reply.json()
        assert reply.status_code == 400, problem
        errors = problem["errors"]
        named = [error["location"] for error in errors]
        assert named == list(dict.fromkeys(places))[:PROBLEMS_MAX]
        for error in errors:
            readable(f"{error['message']}. {error.get('fix', '')}")
            assert error["message"] not in problem["detail"]
        readable(problem["detail"])


def forms() -> Iterator[tuple[str, str, str]]:
    endpoints = (*ENDPOINTS, *gateway.ENDPOINTS, *sharing.ENDPOINTS)
    for shape in {shape for each in endpoints for shape in (each.body, each.query) if shape}:
        for part in parts(inspect.type_info(shape)):
            if isinstance(part, inspect.Metadata) and getattr(part.type, "pattern", None):
                assert isinstance(part.type, inspect.StrType)
                yield str(shape), part.type.pattern or "", (part.extra or {}).get("form", "")


def test_every_pattern_has_a_form_with_an_example() -> None:
    found = [*forms()]
    assert len(found) > 30
    for shape, pattern, form in found:
        example = form.rpartition("such as ")[2]
        assert re.search(pattern, example), (shape, form)
        readable(form)


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    size: int


class _Shape(msgspec.Struct):
    items: list[_Item]


def test_number_of_problems_is_limited() -> None:
    with pytest.raises(BadRequest) as caught:
        decode_body(b'{"items": [%s]}' % b",".join([b"{}"] * 1000), _Shape)
    assert len(caught.value.errors) == PROBLEMS_MAX
