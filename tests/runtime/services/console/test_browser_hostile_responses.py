"""The web UI displays text in responses as text. Every text field of the generated responses
contains markup. `page_of` fails on script errors and violations of the content security policy.
"""

import json
import re
from typing import Any
from urllib.parse import urlencode

from gatehouse.services.console.routes import document
from playwright.async_api import Browser, Page, Route

from tests.runtime.services.console.web_pages import (
    MARKS,
    PAGES,
    loads_nothing,
    navigate,
    page_of,
    sign_in,
)

pytestmark = MARKS
TEXT = "javascript:alert(1)//" + "".join(
    (
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "\"><svg/onload=alert(1)>'-alert(1)-'",
        "{{constructor.constructor('alert(1)')()}}javascript:alert(1)//",
        "</textarea></title><iframe srcdoc='<script>parent.alert(1)</script>'>",
        "<a href=javascript:alert(1)>",
    )
)
_REFERENCE = "#/components/schemas/"
_DEPTH_MAX = 12
_FIELD = re.compile(r"\[(\w+\.\w+)\]")
_ELEMENTS = (
    "main :is(script, iframe, img, [onerror], [onload], [onfocus], [srcdoc]), "
    ":is([href^=javascript], [src^=javascript])"
)


class Responses:
    """Responses of the API with TEXT and the name of the field in every text field."""

    def __init__(self) -> None:
        self._document = document()
        self.operations: dict[str, str] = {}
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

    def respond(self, method: str, path: str) -> tuple[str, Any]:
        """The ID of the operation, and the body of its response. None if it is not JSON."""
        # Paths without parameters come first.
        for route in sorted(self._routes, key=lambda route: route[1].pattern.count("[^/]+")):
            if route[0] == method and route[1].fullmatch(path):
                return route[2], None if route[3] is None else self.value(route[3], route[2])
        raise AssertionError(f"{method} {path} is not declared")

    def value(self, schema: dict[str, Any], field: str, depth: int = 0) -> Any:
        assert depth < _DEPTH_MAX, field
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(_REFERENCE)
            return self.value(self._document["components"]["schemas"][name], name, depth + 1)
        for options in ("anyOf", "oneOf", "allOf"):
            if options in schema:
                return self.value(
                    next(option for option in schema[options] if option.get("type") != "null"),
                    field,
                    depth + 1,
                )
        if "enum" in schema:
            return next(value for value in schema["enum"] if value is not None)
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type")
        kind = next(name for name in kind if name != "null") if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema:
            return self._object(schema, field, depth)
        if kind == "array":
            return [self.value(schema["items"], field, depth + 1)] if "items" in schema else []
        if kind in ("integer", "number"):
            return schema.get("minimum", 1) or 1
        if kind == "boolean":
            return True
        return "2030-06-01T04:00:00Z" if schema.get("format") == "date-time" else f"{TEXT}[{field}]"

    def _object(self, schema: dict[str, Any], field: str, depth: int) -> dict[str, Any]:
        name = field.partition(".")[0]
        members = {
            member: self.value(value, f"{name}.{member}", depth + 1)
            for member, value in schema.get("properties", {}).items()
        }
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict) and extra:
            members[f"{TEXT}[{field}]"] = self.value(extra, field, depth + 1)
        return members


class Checked:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.shown: set[str] = set()
        self.problems: list[str] = []
        self._responses = Responses()
        page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}"))

    async def replace(self, route: Route) -> None:
        path = route.request.url.partition("/v1")[2].partition("?")[0]
        operation, body = self._responses.respond(route.request.method, f"/v1{path}")
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
                json={"code": "unavailable", "detail": TEXT},
                content_type="application/problem+json",
            )
        else:
            await route.fulfill(body=json.dumps(body), content_type="application/json")

    async def check(self, name: str) -> None:
        await loads_nothing(self.page)
        await self.page.evaluate(
            "document.querySelectorAll('details').forEach((details) => { details.open = true })"
        )
        text = await self.page.locator("body").inner_text()
        values = await self.page.locator("input, textarea").evaluate_all(
            "(controls) => controls.map(({ value }) => value)"
        )
        self.shown |= set(_FIELD.findall(text + "".join(values)))
        if await self.page.locator(_ELEMENTS).count():
            self.problems.append(name)


async def test_markup_in_every_field_of_a_response_is_displayed_as_text(
    browser: Browser, origin: str
) -> None:
    async with page_of(browser, origin, r"status of [45]\d\d") as page:
        checked = Checked(page)
        await sign_in(page)
        await page.route("**/v1/**", checked.replace)
        names = ("key", "secret", "request", "customer", "plan", "limit")
        ids = dict.fromkeys(names, "3fGh82kLmQ0a")
        queries = {
            f"{path}?{name}": f"{path}?{urlencode({name: TEXT})}"
            for path, name in (("/keys", "search"), ("/audit", "actor_id"), ("/usage", "core"))
        }
        for name, path in (PAGES | queries).items():
            await navigate(page, path.format(**ids))
            await checked.check(name)
    assert checked.problems == []
    assert {"WebhookView.url", "KeyView.name", "AuditEventView.target_id"} <= checked.shown
    assert len(checked.shown) > 40
