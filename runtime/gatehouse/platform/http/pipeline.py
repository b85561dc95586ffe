"""Processes requests to declared endpoints: reads and validates the body, and calls the handler
with the services that it takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock
from gatehouse.core.errors import BadRequest, GatehouseError
from gatehouse.core.token import Pepper
from gatehouse.platform.http import asgi
from gatehouse.platform.http.endpoint import Endpoint, resolve
from gatehouse.platform.http.request import Request
from gatehouse.platform.http.starlette_apps import LoggedRoute, client_address, response_of
from gatehouse.platform.http.validation import decode_large, invalid, validate

#: Calls the handler of an endpoint with these arguments in addition to its services and the
#: parameters of the path.
Call = Callable[..., Awaitable[Response]]


class _NoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a request to an endpoint that takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Processes the requests of a service.

    services: services that handlers take, by type (see `resolve`).
    body_bytes_max: maximum size of a JSON body, without `body_extra_bytes` of the endpoint.
    addresses: determines the client address behind trusted proxies.
    cursor_key: session key, which signs page cursors. None for a service without lists.
    """

    services: Mapping[Any, object]
    body_bytes_max: int
    addresses: ClientAddresses
    clock: Clock
    cursor_key: Pepper | None = None

    def request(self, http: HttpRequest) -> Request:
        return Request(
            http, client_address(http, self.addresses), self.clock.now(), self.cursor_key
        )

    def route(self, endpoint: Endpoint) -> LoggedRoute:
        """Return the route of an endpoint. Raises LookupError if a service is missing."""
        services, handler = resolve(endpoint, self.services), endpoint.handler
        assert handler is not None  # noqa: S101 - every endpoint of these services has a handler

        async def call(request: Request, **arguments: Any) -> Response:
            for service in services.values():
                if isinstance(service, GatehouseError):
                    raise service.with_traceback(None)
            response = response_of(
                endpoint,
                await handler(request, **services, **request.http.path_params, **arguments),
            )
            response.raw_headers.extend(
                field for field in request.response.raw_headers if field[0] != b"content-length"
            )
            return response

        async def respond(http: HttpRequest) -> Response:
            return await self.process(endpoint, self.request(http), call)

        return LoggedRoute(endpoint.path, respond, methods=[endpoint.method], head=False)

    async def process(self, endpoint: Endpoint, request: Request, call: Call) -> Response:
        """Return the response to a request that needs no credential."""
        if endpoint.body is None:
            return await call(request)
        body, _ = await self.body(endpoint, request)
        return await call(request, body=body)

    async def body(self, endpoint: Endpoint, request: Request) -> tuple[Any, object]:
        """Return the validated body and its JSON value, which is None if there is no body. The body
        may be omitted if it has no required fields. Raises UnsupportedMediaType and BadRequest."""
        http = request.http
        request.content = await asgi.read_body(
            http.scope, http.receive, self.body_bytes_max + endpoint.body_extra_bytes
        )
        kind = _NoBody if endpoint.body is None else endpoint.body
        if request.content:
            asgi.check_json(http.headers.getlist("content-type"))
            return await decode_large(request.content, kind)
        try:
            return validate({}, kind, "body"), None
        except BadRequest:
            raise invalid("body", "is missing", "send a JSON object") from None
