"""Builds OpenAPI 3.1 documents from endpoint declarations and the msgspec types in these
declarations.
"""

import dataclasses
import tomllib
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, inspect

from gatehouse import __version__
from gatehouse.core.errors import GatehouseError, UsageExceeded
from gatehouse.platform.tracing.context import trace_id_of
from gatehouse.platform.web import problems, responses
from gatehouse.platform.web.endpoint import CREDENTIAL, Endpoint, Header
from gatehouse.platform.web.examples import example
from gatehouse.platform.web.fields import REQUEST_ID
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.validation import parts, published

Json = dict[str, Any]

#: Code of the example and description of the error responses, by status.
_ERRORS = {
    int(status): (row["code"], row["description"])
    for status, row in tomllib.loads(
        Path(__file__).with_name("error_responses.toml").read_text("utf-8")
    ).items()
}

#: Types of the values of enumerations and constants.
_JSON_TYPES = {str: "string", bool: "boolean", int: "integer"}

_RETRY_AFTER = {
    "headers": {
        "Retry-After": {
            "description": "Number of seconds to wait before the next attempt.",
            "schema": {"type": "integer", "minimum": 0},
        }
    }
}

_REFERENCE = "#/components/schemas/{name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """Content of a document in addition to its endpoints.

    tags: tag of endpoints -> description.
    path_parameters: name -> (description, schema, example).
    errors: status -> (code of the example, description); overrides the others.
    common_errors: security scheme -> statuses that all of its endpoints can return.
    idempotency: headers of the idempotent operations.
    resolved: name of the header with the IDs that references mean. Empty: there are none.
    empty_body: a missing body is read as an empty object.
    """

    title: str
    description: str
    security_schemes: Mapping[str, Json]
    tags: Mapping[str, str]
    path_parameters: Mapping[str, tuple[str, Json, str]]
    errors: Mapping[int, tuple[str, str]] = dataclasses.field(default_factory=dict)
    common_errors: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    idempotency: tuple[Header, ...] = ()
    resolved: str = ""
    empty_body: bool = False


def document(api: Api, endpoints: Sequence[Endpoint]) -> Json:
    paths: Json = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(api, endpoint)
    result = {
        "openapi": "3.1.0",
        "info": {
            "title": api.title,
            "version": __version__,
            "description": api.description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The service that returns this document."}],
        "tags": [
            {"name": tag, "description": api.tags[tag]}
            for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)
        ],
        "paths": paths,
        "components": {
            "securitySchemes": dict(api.security_schemes),
            "schemas": _components(endpoints),
        },
    }
    complete: Json = _published(result)
    return complete


def handler(
    build: Callable[..., Json], *arguments: Hashable
) -> Callable[[Request], Awaitable[responses.Response]]:
    """Handler of the path of a document. The document is built before the service is ready, because
    building it takes up to 0.1 s.
    """
    body = _encoded(build, *arguments)

    async def respond(request: Request) -> responses.Response:
        return request.response(200, body, headers=[(b"cache-control", b"public, max-age=300")])

    return respond


@cache
def _encoded(build: Callable[..., Json], *arguments: Hashable) -> bytes:
    return responses.encode(build(*arguments))


def _published(value: Any) -> Any:
    """The document with ECMA-262 patterns, and in the forms that generators of clients read: lists
    instead of tuples, a type for each enumeration, and one type for all items of an array.
    """
    if isinstance(value, list | tuple):
        return [_published(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    result: Json = {
        name: published(item) if name == "pattern" and isinstance(item, str) else _published(item)
        for name, item in value.items()
    }
    if "prefixItems" in result:
        first, *others = result.pop("prefixItems")
        if any(item != first for item in others):
            raise TypeError("The items of a tuple in a schema must have the same type")
        result["items"] = first
    values = result.get("enum", [result["const"]] if "const" in result else None)
    if isinstance(values, list) and "type" not in result:
        (result["type"],) = {_JSON_TYPES[type(item)] for item in values}
    return result


def _operation(api: Api, endpoint: Endpoint) -> Json:
    operation: Json = {
        "summary": endpoint.summary,
        "description": endpoint.description,
        "operationId": endpoint.operation_id,
        "tags": [endpoint.tag],
        "parameters": [
            *_path_parameters(api, endpoint),
            *_query_parameters(endpoint),
            *_headers(api, endpoint),
        ],
        "responses": _responses(api, endpoint),
    }
    operation["security"] = [{scheme: []} for scheme in endpoint.security]
    if endpoint.body is not None or endpoint.body_content:
        operation["requestBody"] = {
            "required": not api.empty_body or endpoint.body is None or _is_required(endpoint.body),
            "content": {
                **({} if endpoint.body is None else _content(endpoint.body)),
                **endpoint.body_content,
            },
        }
    if endpoint.roles:
        operation["x-roles"] = sorted(endpoint.roles)
    if endpoint.step_up is not None:
        operation["x-step-up"] = endpoint.step_up.value
    return operation


def _responses(api: Api, endpoint: Endpoint) -> Json:
    success: Json = {"description": endpoint.response_description or _success_description(endpoint)}
    if endpoint.response is not None or endpoint.content:
        success["content"] = {
            **({} if endpoint.response is None else _content(endpoint.response)),
            **endpoint.content,
        }
    headers: Json = {}
    if endpoint.status == 201:
        headers["Location"] = {
            "schema": {"type": "string"},
            "description": "Path of the new resource.",
        }
    if endpoint.changes_state and api.idempotency:
        headers["Idempotency-Replayed"] = {
            "schema": {"const": "true"},
            "description": "Present if this is the stored response to an earlier request.",
        }
    parameters = [*_path_parameters(api, endpoint), *_query_parameters(endpoint)]
    if api.resolved and any("x-reference" in each["schema"] for each in parameters):
        headers[api.resolved] = {
            "schema": {"type": "string", "examples": ["key=3fGh82kLmQ0a"]},
            "description": "A parameter with the ID that its name or tag means. Present for each "
            "parameter that was not an ID.",
        }
    if headers:
        success["headers"] = headers
    errors = {
        status: _problem(api, status)
        for status in sorted({*endpoint.errors, *_common_errors(api, endpoint)})
    }
    for status, response in endpoint.responses.items():
        content = {} if response.type is None else _content(response.type)
        if response.problem:
            content |= _problem(api, status)["content"]
        errors[status] = {
            "description": response.description,
            **_headers_of_error(status),
            **({"content": content} if content else {}),
        }
    failed = {str(status): error for status, error in sorted(errors.items())}
    return {str(endpoint.status) if endpoint.status else "default": success, **failed}


def _success_description(endpoint: Endpoint) -> str:
    return {201: "Created.", 204: "The operation succeeded. No body."}.get(
        endpoint.status, "The operation succeeded."
    )


def _common_errors(api: Api, endpoint: Endpoint) -> Iterator[int]:
    yield 500
    for scheme in endpoint.security:
        yield from api.common_errors.get(scheme, ())
    if (
        endpoint.body is not None
        or endpoint.body_content
        or (CREDENTIAL in endpoint.security and endpoint.method != "GET")
    ):
        yield from (400, 413, 415)
    if endpoint.changes_state and api.idempotency:
        yield from (409, 422)


def _problem(api: Api, status: int) -> Json:
    code, text = api.errors.get(status) or _ERRORS[status]
    document = {
        "type": problems.problem_type(code, ""),
        "title": dict(_titles(GatehouseError))[code.lower()],
        "status": status,
        "detail": text,
        "code": code,
        "request_id": REQUEST_ID,
        "trace_id": trace_id_of(REQUEST_ID),
    }
    content = {"schema": {"$ref": _REFERENCE.format(name="Problem")}, "example": document}
    return {
        "description": text,
        **_headers_of_error(status),
        "content": {"application/problem+json": content},
    }


def _headers_of_error(status: int) -> Json:
    return _RETRY_AFTER if status in (UsageExceeded.status, *problems.RETRY_STATUSES) else {}


def _titles(error: type[GatehouseError]) -> Iterator[tuple[str, str]]:
    yield error.code, error.title
    for subclass in error.__subclasses__():
        yield from _titles(subclass)


def _path_parameters(api: Api, endpoint: Endpoint) -> Iterator[Json]:
    for name, (description, schema, value) in api.path_parameters.items():
        if f"{{{name}}}" in endpoint.path:
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": description,
                "schema": schema,
                "example": value,
            }


def _query_parameters(endpoint: Endpoint) -> Iterator[Json]:
    if endpoint.query is None:
        return
    (schema,), components = msgspec.json.schema_components(
        [endpoint.query], ref_template=_REFERENCE
    )
    properties: Json = components[schema["$ref"].rpartition("/")[2]]["properties"]
    required = {
        field.encode_name for field in msgspec.structs.fields(endpoint.query) if field.required
    }
    for name, declared in properties.items():
        described = _without_null(declared)
        if "$ref" in described:  # an enumeration
            described = {**components[described.pop("$ref").rpartition("/")[2]], **described}
        parameter = {"name": name, "in": "query", "required": name in required, "schema": described}
        if "description" in described:
            parameter["description"] = described.pop("description")
        if "examples" in described:
            parameter["example"] = described.pop("examples")[0]
        yield parameter


def _without_null(schema: Json) -> Json:
    """The schema of an optional query parameter, which can be omitted but not null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    plain = {
        name: value
        for name, value in schema.items()
        if name != "anyOf" and not (name == "default" and value is None)
    }
    return (
        {**(options[0] if len(options) == 1 else {"anyOf": options}), **plain} if options else plain
    )


def _headers(api: Api, endpoint: Endpoint) -> Iterator[Json]:
    common = api.idempotency if endpoint.changes_state else ()
    for header in (*endpoint.headers, *common):
        yield {"in": "header", **dataclasses.asdict(header)}


def _content(kind: Any) -> Json:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return {"application/json": {"schema": schema}}


def _is_required(kind: Any) -> bool:
    """True if a body is required, because an empty object would be invalid."""
    try:
        msgspec.convert({}, kind)
    except msgspec.ValidationError:
        return True
    return False


def _components(endpoints: Sequence[Endpoint]) -> Json:
    """Schemas of all types, with examples of bodies, or those in the attribute `examples`."""
    requests = [endpoint.body for endpoint in endpoints if endpoint.body is not None]
    replies = [endpoint.response for endpoint in endpoints if endpoint.response is not None]
    replies += [
        response.type
        for endpoint in endpoints
        for response in endpoint.responses.values()
        if response.type is not None
    ]
    _, schemas = msgspec.json.schema_components(
        [*requests, *replies, problems.ProblemDocument], ref_template=_REFERENCE
    )
    requested = _structs(requests)
    for struct in requested | _structs([*replies, problems.ProblemDocument]):
        schema = schemas[struct.__name__]
        if struct in (*requests, *replies) or hasattr(struct, "example"):
            own = getattr(struct, "examples", None)
            schema["examples"] = list(own or [example(struct, complete=struct not in requested)])
        if struct not in requested and not struct.__struct_config__.omit_defaults:
            # Responses contain every field, including fields with a default.
            schema["required"] = [
                field.encode_name
                for field in msgspec.structs.fields(struct)
                if field.default is not UNSET
            ]
    schemas["ProblemDetail"], schemas["Problem"] = (
        schemas.pop("Problem"),
        schemas.pop("ProblemDocument"),
    )
    schemas["Problem"]["properties"]["errors"]["items"] = {
        "$ref": _REFERENCE.format(name="ProblemDetail")
    }
    return {name: schemas[name] for name in sorted(schemas)}


def _structs(kinds: Iterable[Any]) -> set[type[msgspec.Struct]]:
    return {
        part.cls
        for kind in kinds
        for part in parts(inspect.type_info(kind))
        if isinstance(part, inspect.StructType)
    }
