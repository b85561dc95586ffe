"""Processes requests to declared endpoints: reads and validates the body, and calls the handler
with the services that it takes.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gatehouse.core.errors import BadRequest, GatehouseError
from gatehouse.core.features import Features
from gatehouse.platform.web import responses
from gatehouse.platform.web.application import Handler, Routes
from gatehouse.platform.web.endpoint import Endpoint, resolve
from gatehouse.platform.web.fields import Input
from gatehouse.platform.web.request import Reply, Request, Service
from gatehouse.platform.web.validation import (
    check_json,
    decode_body,
    decode_query,
    invalid,
    json_value,
    validate,
)

#: Calls the handler of an endpoint with these arguments in addition to its services and the
#: parameters of the path.
Call = Callable[..., Awaitable[Reply]]


class _NoBody(Input):
    """Body of a request to an endpoint that takes none."""


@dataclass(frozen=True, kw_only=True)
class Pipeline(Service):
    """Processes the requests of a service.

    services: services that handlers take, by type (see `resolve`).
    body_max_bytes: maximum size of a JSON body, without `body_extra_bytes` of the endpoint.
    features: of the service.
    lenient: Content-Type may be missing, or be a type that `curl -d` or `fetch` sends by default.
    """

    services: Mapping[Any, object]
    body_max_bytes: int
    features: Features = field(default_factory=Features)
    lenient: bool = False

    def add(self, routes: Routes, endpoints: Iterable[Endpoint]) -> None:
        """Adds the routes of endpoints. Raises LookupError if a service is missing."""
        for endpoint in endpoints:
            methods = ("GET", "HEAD") if endpoint.method == "GET" else (endpoint.method,)
            handler = self.handler(endpoint)
            if endpoint.feature:
                handler = partial(self._if_enabled, endpoint.feature, handler)
            routes.add(endpoint.path, handler, *methods)

    async def _if_enabled(self, feature: str, handler: Handler, request: Request) -> Reply | None:
        self.features.check(feature)
        return await handler(request)

    def handler(self, endpoint: Endpoint) -> Handler:
        call = self.call(endpoint)
        return partial(self.process, endpoint, call) if endpoint.arguments else call

    def missing(self, endpoint: Endpoint) -> GatehouseError | None:
        """Return the error of an endpoint that takes a service that is not configured."""
        services = resolve(endpoint, self.services).values()
        return next((item for item in services if isinstance(item, GatehouseError)), None)

    def call(self, endpoint: Endpoint) -> Call:
        status, missing = endpoint.status, self.missing(endpoint)
        function = partial(endpoint.handler, **resolve(endpoint, self.services))

        async def call(request: Request, **arguments: Any) -> Reply:
            if missing is not None:
                raise missing.with_traceback(None)
            if request.path_parameters:
                arguments |= request.path_parameters
            result = await function(request, **arguments)
            if isinstance(result, Reply):
                return result
            return request.response(status, b"" if result is None else responses.encode(result))

        return call

    async def process(self, endpoint: Endpoint, call: Call, request: Request) -> Reply | None:
        arguments: dict[str, Any] = {}
        if "body" in endpoint.arguments:
            arguments["body"], _ = await self.body(endpoint, request)
        if "query" in endpoint.arguments:
            arguments["query"] = decode_query(request.query_string, endpoint.query)
        return await call(request, **arguments)

    async def body(self, endpoint: Endpoint, request: Request) -> tuple[Any, object]:
        """Return the validated body and its JSON value, which is None if there is no body. The body
        may be omitted if it has no required fields. Raises UnsupportedMediaType and BadRequest."""
        kind = _NoBody if endpoint.body is None else endpoint.body
        request.content = await self.json_body(request, endpoint.body_extra_bytes)
        if request.content:
            return decode_body(request.content, kind), json_value(request.content)
        try:
            return validate({}, kind, "body"), None
        except BadRequest:
            raise invalid("body", "is missing", "send a JSON object") from None

    async def json_body(self, request: Request, extra_bytes: int = 0) -> bytes:
        """The JSON body. Raises UnsupportedMediaType, BodyTooLarge and ClientDisconnect."""
        content = await request.read_body(self.body_max_bytes + extra_bytes)
        if content:
            check_json(request.header(b"content-type"), lenient=self.lenient)
        return content
