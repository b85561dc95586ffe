"""The OpenAPI documents of the services."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from gatehouse.services.console.routes import document as console_document
from gatehouse.services.gateway.routes import document as gateway_document
from gatehouse.services.sharing.routes import document as sharing_document
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator

DOCUMENTS: dict[str, dict[str, Any]] = {
    "console": console_document(),
    "gateway": gateway_document(),
    "sharing": sharing_document(),
}
METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}
PROBES = {"GET /healthz", "GET /readyz", "GET /metrics"}


@dataclass(frozen=True)
class Operation:
    """An operation with the parameters of its path. `name` is service, method and path."""

    service: str
    name: str
    body: dict[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        return DOCUMENTS[self.service]

    @property
    def route(self) -> str:
        return self.name.partition(" ")[2]


def _operations() -> Iterator[Operation]:
    for service, document in DOCUMENTS.items():
        for path, item in document["paths"].items():
            for method in METHODS & set(item):
                parameters = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                yield Operation(
                    service,
                    f"{service} {method.upper()} {path}",
                    {**item[method], "parameters": parameters},
                )


OPERATIONS = list(_operations())


@pytest.mark.parametrize("service", DOCUMENTS)
def test_document_is_openapi_3_1(service: str) -> None:
    assert DOCUMENTS[service]["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(DOCUMENTS[service]).validate()


def test_operations_have_summary_and_description() -> None:
    assert len(OPERATIONS) > 40
    for operation in OPERATIONS:
        summary, description = operation.body["summary"], operation.body["description"]
        assert 0 < len(summary) <= 80, operation.name
        assert description.endswith("."), operation.name
        assert description != summary, operation.name


def test_examples_match_their_schemas() -> None:
    assert OPERATIONS
    for operation in OPERATIONS:
        contents = [operation.body.get("requestBody", {}), *operation.body["responses"].values()]
        for media_type, media in (
            (kind, media)
            for content in contents
            for kind, media in content.get("content", {}).items()
        ):
            examples = _examples(media, operation.document)
            assert examples, (operation.name, media_type)
            for example in examples:
                # References in the schema are relative to the document.
                schema = {**media["schema"], "components": operation.document["components"]}
                validator = Draft202012Validator(schema, format_checker=FormatChecker())
                errors = [error.message for error in validator.iter_errors(example)]
                assert errors == [], (operation.name, media_type)
        required = [
            parameter for parameter in operation.body["parameters"] if parameter.get("required")
        ]
        assert [parameter["name"] for parameter in required if "example" not in parameter] == [], (
            operation.name
        )


def test_errors_are_problem_documents() -> None:
    assert OPERATIONS
    for operation in OPERATIONS:
        statuses = {status for status in operation.body["responses"] if status[0] in "45"}
        assert statuses >= ({"500"} if operation.route in PROBES else {"400", "500"}), (
            operation.name
        )
        if "requestBody" in operation.body:
            assert statuses >= {"413", "415"}, operation.name
        for status in statuses:
            content = operation.body["responses"][status].get("content")
            if content is None:  # They return only the status.
                assert operation.body["operationId"] in ("verify_key_header", "authorize_key")
            elif (operation.route, status) != ("GET /readyz", "503"):
                problem = content["application/problem+json"]
                assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}, operation.name
                assert problem["example"]["status"] == int(status), operation.name
                assert (
                    problem["example"]["type"]
                    == "urn:gatehouse:problem:" + problem["example"]["code"].lower()
                ), operation.name


def test_inputs_are_bounded() -> None:
    unbounded = []
    for operation in OPERATIONS:
        inputs = [
            (f"{parameter['in']} {parameter['name']}", parameter["schema"])
            for parameter in operation.body["parameters"]
        ]
        for media in operation.body.get("requestBody", {}).get("content", {}).values():
            inputs.append((f"body of {operation.name}", media["schema"]))
        unbounded += [
            place
            for where, schema in inputs
            for place in _unbounded(schema, where, operation.document)
        ]
    assert unbounded == []


def test_schemas_have_the_forms_that_generators_read() -> None:
    """Generators read an enumeration without a type as any value, or reject `items: false`."""
    schemas = list(_mappings(DOCUMENTS))
    values = [schema for schema in schemas if {"enum", "const"} & set(schema)]
    assert values
    assert [schema for schema in values if "type" not in schema] == []
    assert [schema for schema in schemas if "prefixItems" in schema] == []
    assert [schema for schema in schemas if schema.get("items") is False] == []


def test_responses_to_requests_that_can_be_repeated_document_retry_after() -> None:
    for operation in OPERATIONS:
        for status in {"429", "503"} & set(operation.body["responses"]):
            if (operation.route, status) != ("GET /readyz", "503"):
                headers = operation.body["responses"][status]["headers"]
                assert headers["Retry-After"]["schema"]["type"] == "integer", operation.name


def test_operations_state_their_credentials_and_tags_are_described() -> None:
    """Without `security: []`, linters and generators cannot tell an open operation from one whose
    author forgot the credential."""
    for operation in OPERATIONS:
        schemes = operation.document["components"]["securitySchemes"]
        assert {name for row in operation.body["security"] for name in row} <= set(schemes)
    for document in DOCUMENTS.values():
        assert document["servers"]
        used = {
            operation.body["tags"][0] for operation in OPERATIONS if operation.document is document
        }
        assert {tag["name"] for tag in document["tags"] if tag["description"]} == used


def test_headers_without_which_a_request_is_refused_are_required() -> None:
    refused = [operation for operation in OPERATIONS if "428" in operation.body["responses"]]
    assert len(refused) > 4
    for operation in OPERATIONS:
        headers = {
            parameter["name"]
            for parameter in operation.body["parameters"]
            if parameter["in"] == "header" and parameter["required"]
        }
        assert headers == ({"If-Match"} if operation in refused else set()), operation.name


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _mappings(item)


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _examples(media: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    if "example" in media:
        return [media["example"]]
    schema = media.get("schema", {})
    options = [_resolved(option, document) for option in (schema, *schema.get("anyOf", ()))]
    return [example for option in options for example in option.get("examples", ())]


def _unbounded(schema: dict[str, Any], where: str, document: dict[str, Any]) -> Iterator[str]:
    schema = _resolved(schema, document)
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _unbounded(option, where, document)
    kinds = schema.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if kinds <= {"null", "boolean"} or {"enum", "const"} & set(schema):
        if not kinds and not {"enum", "const", "anyOf", "oneOf"} & set(schema):
            yield f"{where} has no type"
        return
    if "string" in kinds and not (
        "maxLength" in schema or schema.get("format") == "date-time" or "pattern" in schema
    ):
        yield where
    if kinds & {"integer", "number"} and not {"minimum", "maximum"} <= set(schema):
        yield where
    if "array" in kinds:
        if "maxItems" not in schema:
            yield where
        for item in schema.get("prefixItems") or [schema["items"]]:
            yield from _unbounded(item, f"{where}[]", document)
    if "object" in kinds:
        more = schema.get("additionalProperties", True)
        if isinstance(more, dict):
            if "maxProperties" not in schema:
                yield where
            yield from _unbounded(more, f"{where}.*", document)
        elif more is not False:
            yield f"{where} accepts any member"
        for pattern, member in schema.get("patternProperties", {}).items():
            if "maxProperties" not in schema:
                yield where
            yield from _unbounded(member, f"{where}.{pattern}", document)
        for name, member in schema.get("properties", {}).items():
            yield from _unbounded(member, f"{where}.{name}", document)
