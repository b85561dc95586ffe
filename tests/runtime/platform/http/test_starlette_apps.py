"""Routing of the console and of the sharing service."""

from __future__ import annotations

from typing import Any

import pytest
from gatehouse.platform.http.starlette_apps import LoggedRoute, RouteTable
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match


async def respond(request: Request) -> Response:
    return Response()


def route(path: str, *methods: str) -> LoggedRoute:
    return LoggedRoute(path, respond, methods=list(methods))


TABLE = RouteTable(
    [
        route("/", "GET"),
        route("/v1/sessions/{session}", "DELETE", "GET"),
        route("/v1/sessions/current", "GET"),
        route("/v1/keys/{id}", "GET"),
        route("/v1/keys/{id}/revoke", "POST"),
        route("/s/{link}/items/{item:int}", "POST"),
    ]
)


def match(method: str, path: str) -> tuple[Match, Any]:
    return TABLE.matches({"type": "http", "method": method, "path": path, "headers": []})


@pytest.mark.parametrize(
    ("method", "path", "template", "parameters"),
    [
        ("GET", "/", "/", {}),
        ("GET", "/v1/sessions/current", "/v1/sessions/current", {}),
        ("DELETE", "/v1/sessions/current", "/v1/sessions/{session}", {"session": "current"}),
        ("GET", "/v1/sessions/{session}", "/v1/sessions/{session}", {"session": "{session}"}),
        ("POST", "/v1/keys/a/revoke", "/v1/keys/{id}/revoke", {"id": "a"}),
        ("POST", "/s/a/items/7", "/s/{link}/items/{item:int}", {"link": "a", "item": 7}),
    ],
)
def test_route_is_found_by_path_and_method(
    method: str, path: str, template: str, parameters: dict[str, object]
) -> None:
    result, scope = match(method, path)
    assert (result, scope["route"].path, scope["path_params"]) == (Match.FULL, template, parameters)


@pytest.mark.parametrize(
    "path",
    ["", "/v1", "/v1/keys/", "/v1/keys/a/", "/v1/keys/a/b/revoke", "/v1//a", "/s/a/items/x", "//"],
)
def test_unknown_path_has_no_route(path: str) -> None:
    assert match("POST" if path.startswith("/s/") else "GET", path)[0] is Match.NONE


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/sessions/current", "DELETE, GET, HEAD"),
        ("/v1/keys/a", "GET, HEAD"),
        ("/v1/keys/a/revoke", "POST"),
    ],
)
def test_other_method_is_405_with_the_allowed_methods(path: str, allowed: str) -> None:
    with pytest.raises(HTTPException) as error:
        match("PUT", path)
    assert (error.value.status_code, error.value.headers) == (405, {"Allow": allowed})
