"""Responses of the API that are generated from its OpenAPI document."""

import json
import re
from collections.abc import Callable
from typing import Any

from gatehouse.services.console.routes import document
from playwright.async_api import Route

_REFERENCE = "#/components/schemas/"
_DEPTH_MAX = 12


class Responses:
    """Responses with values in every field. text: a text for a field, such as `KeyView.name`.
    rows: length of lists. number: for numbers without a maximum, or with a higher one.
    """

    def __init__(self, text: Callable[[str], str], rows: int = 1, number: int = 1) -> None:
        self._document = document()
        self._text, self._rows, self._number, self._count = text, rows, number, 0
        self._routes: list[tuple[str, re.Pattern[str], str, Any]] = []
        for path, methods in self._document["paths"].items():
            pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
            for method, operation in methods.items():
                success = next(
                    reply
                    for status, reply in operation["responses"].items()
                    if status.startswith("2")
                )
                schema = success.get("content", {}).get("application/json", {}).get("schema")
                self._routes.append((method.upper(), pattern, operation["operationId"], schema))

    async def replace(self, route: Route) -> None:
        """Responds to a request of a page. A response that is not JSON becomes a problem."""
        path = route.request.url.partition("/v1")[2].partition("?")[0]
        operation, body = self.respond(route.request.method, f"/v1{path}")
        if operation in ("sign_in", "end_session"):
            await route.continue_()
        elif operation == "show_session":
            # The UI cannot work without the CSRF token and the roles.
            reply = await route.fetch()
            await route.fulfill(
                response=reply, json={**await reply.json(), "session": body["session"]}
            )
        elif body is None:
            await route.fulfill(
                status=503,
                json={"code": "unavailable", "detail": self._text("Problem.detail")},
                content_type="application/problem+json",
            )
        else:
            await route.fulfill(body=json.dumps(body), content_type="application/json")

    def respond(self, method: str, path: str) -> tuple[str, Any]:
        """The ID of the operation, and the body of its response. None if it is not JSON."""
        # Paths without parameters come first.
        for route in sorted(self._routes, key=lambda route: route[1].pattern.count("[^/]+")):
            if route[0] == method and route[1].fullmatch(path):
                return route[2], None if route[3] is None else self._value(route[3], route[2])
        raise AssertionError(f"{method} {path} is not declared")

    def _value(self, schema: dict[str, Any], field: str, depth: int = 0) -> Any:
        assert depth < _DEPTH_MAX, field
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(_REFERENCE)
            return self._value(self._document["components"]["schemas"][name], name, depth + 1)
        for options in ("anyOf", "oneOf", "allOf"):
            if options in schema:
                return self._value(
                    next(option for option in schema[options] if option.get("type") != "null"),
                    field,
                    depth + 1,
                )
        if "enum" in schema:
            values = [value for value in schema["enum"] if value is not None]
            self._count += self._rows > 1
            return values[self._count % len(values)]
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type")
        kind = next(name for name in kind if name != "null") if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema:
            return self._object(schema, field, depth)
        if kind == "array":
            number = min(self._rows, schema.get("maxItems", self._rows)) if "items" in schema else 0
            return [self._value(schema["items"], field, depth + 1) for _ in range(number)]
        if kind in ("integer", "number"):
            number = max(self._number, schema.get("minimum", 1))
            return min(number, schema.get("maximum", number)) or 1
        if kind == "boolean":
            return True
        return "2030-06-01T04:00:00Z" if schema.get("format") == "date-time" else self._text(field)

    def _object(self, schema: dict[str, Any], field: str, depth: int) -> dict[str, Any]:
        name = field.partition(".")[0]
        members = {
            member: self._value(value, f"{name}.{member}", depth + 1)
            for member, value in schema.get("properties", {}).items()
        }
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict) and extra:
            members[self._text(field)] = self._value(extra, field, depth + 1)
        return members
