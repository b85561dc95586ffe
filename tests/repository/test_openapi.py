"""What the OpenAPI documents of console and gateway have to say of every operation: words, examples, bounds, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gatehouse.doors.console.app import document as console_document
from gatehouse.doors.gateway.openapi import document as gateway_document
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

DOCUMENTS: dict[str, dict[str, Any]] = {"console": console_document(), "gateway": gateway_document()}
#: The answers of the proxy are the Core's own, and what is sent to it as well.
PROXY = "/cores/{name}/{path}"
METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}
#: Every operation can be refused for its form, and can fail.
EVERY = {"400", "500"}


def _operations() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    for door, document in DOCUMENTS.items():
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if method in METHODS:
                    shared = {"parameters": [*item.get("parameters", ()), *operation.get("parameters", ())]}
                    yield door, f"{method.upper()} {path}", {**operation, **shared}, document


OPERATIONS = list(_operations())
every_operation = pytest.mark.parametrize(
    ("door", "name", "operation", "document"), OPERATIONS, ids=[f"{door} {name}" for door, name, *_ in OPERATIONS]
)


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema
    while "$ref" in found:
        found = document["components"]["schemas"][found["$ref"].rpartition("/")[2]]
    return found


def _examples(media: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    if "example" in media:
        return [media["example"]]
    schema = media.get("schema", {})
    options = [_resolved(one, document) for one in (schema, *schema.get("anyOf", ()))]
    return [example for one in options for example in one.get("examples", ())]


def _validator(schema: dict[str, Any], document: dict[str, Any]) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource("urn:document", DRAFT202012.create_resource(document))
    pointed = _absolute(schema)
    return Draft202012Validator(pointed, registry=registry, format_checker=FormatChecker())


def _absolute(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: f"urn:document{item}" if name == "$ref" else _absolute(item) for name, item in value.items()}
    return [_absolute(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("door", DOCUMENTS)
def test_the_document_is_openapi_3_1(door: str) -> None:
    assert DOCUMENTS[door]["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(DOCUMENTS[door]).validate()


@pytest.mark.parametrize("door", DOCUMENTS)
def test_operation_ids_are_there_and_unique(door: str) -> None:
    ids = [operation["operationId"] for where, _, operation, _ in OPERATIONS if where == door]
    assert len(set(ids)) == len(ids)


@pytest.mark.requirement("TR-16")
@every_operation
def test_an_operation_says_in_a_few_words_and_in_a_sentence_what_it_does(
    door: str, name: str, operation: dict[str, Any], document: dict[str, Any]
) -> None:
    assert 0 < len(operation["summary"]) <= 80
    assert operation["description"].endswith(".")
    assert operation["description"] != operation["summary"]


@pytest.mark.requirement("TR-16")
@every_operation
def test_request_and_answer_have_examples_that_fit_their_schemas(
    door: str, name: str, operation: dict[str, Any], document: dict[str, Any]
) -> None:
    bodies = dict(operation["requestBody"]["content"]) if "requestBody" in operation else {}
    answers = [media for response in operation["responses"].values() for media in response.get("content", {}).items()]
    for media_type, media in (*bodies.items(), *answers):
        examples = _examples(media, document)
        assert examples, (name, media_type)
        for example in examples:
            assert [error.message for error in _validator(media["schema"], document).iter_errors(example)] == []
    for parameter in operation["parameters"]:
        if parameter.get("required"):
            assert "example" in parameter, parameter["name"]


@pytest.mark.requirement("TR-16")
@every_operation
def test_every_error_is_a_problem_document_with_its_code(
    door: str, name: str, operation: dict[str, Any], document: dict[str, Any]
) -> None:
    statuses = {status for status in operation["responses"] if status[0] in "45"}
    assert statuses >= (EVERY - {"400"} if name.split(" ")[1] in {"/healthz", "/readyz", "/metrics"} else EVERY)
    if "requestBody" in operation and "leaks" not in operation["tags"]:
        assert statuses >= {"413", "415"}
    for status in statuses:
        content = operation["responses"][status].get("content")
        if content is None:  # of GET /v1/keys/verify, where the status is the answer
            assert operation["operationId"] == "verifyKeyHeader"
            continue
        if name == "GET /readyz" and status == "503":
            continue
        problem = content["application/problem+json"]
        assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert problem["example"]["status"] == int(status)
        assert problem["example"]["type"] == "urn:gatehouse:problem:" + problem["example"]["code"].lower()


@pytest.mark.requirement("TR-16")
@every_operation
def test_everything_that_is_taken_has_a_bound(door: str, name: str, operation: dict[str, Any], document: dict[str, Any]) -> None:
    taken = [(f"{one['in']} {one['name']}", one["schema"]) for one in operation["parameters"]]
    for media in operation.get("requestBody", {}).get("content", {}).values():
        taken.append((f"body of {name}", media["schema"]))
    assert [place for where, schema in taken for place in _unbounded(schema, where, document)] == []


def _unbounded(schema: dict[str, Any], where: str, document: dict[str, Any]) -> Iterator[str]:
    """Every place in a schema at which anything long or large may be sent."""
    schema = _resolved(schema, document)
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _unbounded(option, where, document)
    kinds = schema.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if kinds <= {"null", "boolean"} or {"enum", "const"} & set(schema):
        if not kinds and not {"enum", "const", "anyOf", "oneOf"} & set(schema):
            yield f"{where} has no type"
        return
    if "string" in kinds and not ("maxLength" in schema or schema.get("format") == "date-time" or "pattern" in schema):
        yield where
    if kinds & {"integer", "number"} and not {"minimum", "maximum"} <= set(schema):
        yield where
    if "array" in kinds:
        if "maxItems" not in schema:
            yield where
        yield from _unbounded(schema["items"], f"{where}[]", document)
    if "object" in kinds:
        more = schema.get("additionalProperties", True)
        if isinstance(more, dict):
            if "maxProperties" not in schema:
                yield where
            yield from _unbounded(more, f"{where}.*", document)
        elif more is not False and "leaks" not in where:
            yield f"{where} takes any member"
        for pattern, member in schema.get("patternProperties", {}).items():
            if "maxProperties" not in schema:
                yield where
            yield from _unbounded(member, f"{where}.{pattern}", document)
        for name, member in schema.get("properties", {}).items():
            yield from _unbounded(member, f"{where}.{name}", document)


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize("door", DOCUMENTS)
def test_links_lead_to_operations_that_are_there(door: str) -> None:
    ids = {operation["operationId"] for where, _, operation, _ in OPERATIONS if where == door}
    responses = [one for where, _, operation, _ in OPERATIONS if where == door for one in operation["responses"].values()]
    assert {link["operationId"] for one in responses for link in one.get("links", {}).values()} <= ids
