"""Shared parts of the handlers for recipients and submitters: routes of the API, JSON bodies,
client addresses and pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.errors import GatehouseError
from gatehouse.features.sharing.links import Client
from gatehouse.platform.http import asgi
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.starlette_apps import LoggedRoute, client_address, response_of
from gatehouse.platform.http.validation import decode_large
from gatehouse.services.sharing.pages import Pages
from gatehouse.services.sharing.texts import language

_Body = TypeVar("_Body", bound=msgspec.Struct)


def api_routes(
    endpoints: Iterable[Endpoint], handlers: object, body_bytes_max: int
) -> list[LoggedRoute]:
    """Return the routes of declared endpoints.

    handlers: object with the declared handlers as methods. A handler takes the request and, if it
        declares a parameter `body`, the decoded JSON body. It returns the response: a struct, which
        is sent as JSON, None for 204, or a Starlette response.
    """
    return [
        _route(endpoint, getattr(handlers, endpoint.operation_id), body_bytes_max)
        for endpoint in endpoints
    ]


def _route(endpoint: Endpoint, handler: Any, body_bytes_max: int) -> LoggedRoute:
    decoded = "body" in get_type_hints(handler)

    async def handle(request: Request) -> Response:
        arguments = (
            {"body": await json_body(request, endpoint.body, body_bytes_max)} if decoded else {}
        )
        return response_of(endpoint, await handler(request, **arguments))

    return LoggedRoute(endpoint.path, handle, methods=[endpoint.method])


async def json_body(request: Request, kind: type[_Body], bytes_max: int) -> _Body:
    """Return the JSON body. Raises BadRequest, BodyTooLarge, UnsupportedMediaType."""
    content = await asgi.read_body(request.scope, request.receive, bytes_max)
    asgi.check_json(request.headers.getlist("content-type"))
    return (await decode_large(content, kind))[0]


def client_of(request: Request, addresses: ClientAddresses) -> Client:
    """Return the client that sent the request, behind trusted proxies."""
    return Client(client_address(request, addresses), request.state.request_id)


def pages_of(request: Request) -> Pages:
    """Return the pages in the language of the request."""
    return Pages(language(request.headers.get("accept-language", "")))


def with_error_headers(response: Response, error: GatehouseError) -> Response:
    """Add the headers that the status of an error requires."""
    response.raw_headers += asgi.problem_headers(error)
    return response
