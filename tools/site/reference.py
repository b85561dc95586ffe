"""The API reference of the documentation site: one page of Markdown for each OpenAPI document."""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from tools.docs.markdown import prose, table

Schema = Mapping[str, Any]
_REF = "#/components/schemas/"
_ERROR_MIN = 400
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} properties",
}


def page(name: str, document: Mapping[str, Any]) -> str:
    """`name`: the prefix of the anchors."""
    schemas = document["components"]["schemas"]
    lines = [
        f"# {document['info']['title']}",
        prose(document["info"]["description"]),
        f"The service returns the OpenAPI document of this page: [`/openapi.json`]({name}.json).",
        "## Authentication",
        table(
            ("Scheme", "Credential"),
            (
                (f"`{scheme}`", prose(row.get("description", "")))
                for scheme, row in document["components"]["securitySchemes"].items()
            ),
        ),
    ]
    tags: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            section = tags.setdefault(operation["tags"][0], [])
            section += _operation(name, method, path, operation)
    for tag in document["tags"]:
        title = f"## {tag['name'][0].upper()}{tag['name'][1:]}"
        lines += [title, prose(tag["description"]), *tags[tag["name"]]]
    lines.append("## Schemas")
    for schema, body in sorted(schemas.items()):
        lines += [_anchor(f"{name}-schema", schema), f"### {schema}", *_schema(name, body)]
    return "\n\n".join(filter(None, lines)) + "\n"


def _operation(name: str, method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield _anchor(name, operation["operationId"])
    yield f"### {method.upper()} {path}"
    yield f"{prose(operation['summary'])}. {prose(operation.get('description', ''))}".strip()
    if parameters := operation.get("parameters"):
        rows = (
            (f"`{row['name']}`", row["in"], _type(name, row["schema"]), _text(row, row["required"]))
            for row in parameters
        )
        yield table(("Parameter", "In", "Type", "Description"), rows)
    if "requestBody" in operation:
        for kind, content in operation["requestBody"]["content"].items():
            yield f"Request body (`{kind}`): {_type(name, content['schema'])}."
        yield from _example(content)
    responses, errors = [], []
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        body = ", ".join(_type(name, row["schema"]) for row in content.values() if "schema" in row)
        text = prose(response["description"])
        if headers := ", ".join(f"`{header}`" for header in response.get("headers", ())):
            text = f"{text} Headers: {headers}."
        if not status.isdigit() or int(status) < _ERROR_MIN:
            responses.append((status, text, body or "none"))
        else:
            errors.append((f"{status} {HTTPStatus(int(status)).phrase}", text))
    yield table(("Response", "Description", "Body"), responses)
    if errors:
        yield table(("Error", "Reason"), errors)


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield prose(schema.get("description", ""))
    if properties := schema.get("properties"):
        required = schema.get("required", ())
        rows = (
            (f"`{field}`", _type(name, row), _text(row, field in required))
            for field, row in properties.items()
        )
        yield table(("Field", "Type", "Description"), rows)
    else:
        yield f"Type: {_type(name, schema)}."
    for example in schema.get("examples", ())[:1]:
        yield _json(example)


def _text(row: Mapping[str, Any], required: bool) -> str:
    """The description, with the default of an optional value."""
    schema = row.get("schema", row)
    default = schema.get("default")
    parts = ["Required." if required else "", prose(row.get("description", ""))]
    if not required and default not in (None, "", [], {}):
        parts.append(f"Default: `{json.dumps(default)}`.")
    return " ".join(filter(None, parts))


def _type(name: str, schema: Schema) -> str:
    if "$ref" in schema:
        target = schema["$ref"].removeprefix(_REF)
        return f"[{target}](#{name}-schema-{target.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(name, choice) for choice in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in values)
    kind = str(schema.get("type", "any value"))
    if kind == "array":
        kind = f"array of {_type(name, schema.get('items', {}))}"
    notes = [schema["format"]] if "format" in schema else []
    notes += [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return f"{kind} ({', '.join(notes)})" if notes else kind


def _example(content: Mapping[str, Any]) -> Iterator[str]:
    if "example" in content:
        yield _json(content["example"])


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _anchor(name: str, target: str) -> str:
    return f"({name}-{target.lower()})="
