"""Declares the endpoints of the gateway. The routes and the OpenAPI document are derived from this
declaration.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import msgspec

from gatehouse.core.features import HEADER, PROXY, SELF
from gatehouse.features.cores.schemas import DrainCore, Lease, LeaseRequest
from gatehouse.features.verification.schemas import (
    SelfRevocationRequest,
    SelfRevocationResponse,
    VerifyQuery,
    VerifyReply,
    VerifyRequest,
)
from gatehouse.platform.http import asgi, openapi
from gatehouse.platform.http.endpoint import Endpoint, Response
from gatehouse.platform.http.exchange import Respond, SynchronousRoutes
from gatehouse.platform.http.fields import CoreName
from gatehouse.platform.http.health import Health, Readiness
from gatehouse.platform.http.openapi import Api
from gatehouse.services.gateway import endpoints, synchronous
from gatehouse.services.gateway.asgi import Dependencies, GatewayApp, RequestContext, Route
from gatehouse.services.gateway.proxy import PATH, forward
from gatehouse.services.gateway.synchronous_forwarding import SynchronousForwarding

_KEY = ("bearer", "header")
#: Methods of the proxy in the OpenAPI document. The proxy also forwards any other method.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

API = Api(
    title="Gatehouse gateway",
    description="Verifies API keys and forwards requests to Cores. Errors are problem documents "
    "(RFC 9457). Request bodies are JSON, encoded as UTF-8. Content-Type can be omitted, and the "
    "default Content-Type of curl is accepted.",
    security_schemes={
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "header": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key. Cores can declare another header.",
        },
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "An API key as the password, with any user name. Only for Cores that "
            "declare `basic_auth`.",
        },
    },
    path_parameters={
        "name": ("Name of the Core.", msgspec.json.schema(CoreName), "docs"),
        "path": (
            "Path on the Core, forwarded unchanged. The path can contain slashes.",
            {"type": "string", "maxLength": 8192},
            "reports/2030.pdf",
        ),
    },
    errors={
        401: (
            "unauthorized",
            "The API key is missing or invalid. `WWW-Authenticate` names the accepted schemes.",
        ),
        402: ("USAGE_EXCEEDED", "The credits of the key are used up."),
        403: (
            "FORBIDDEN",
            (
                "The key does not permit this request: the Core, a scope, the method or the IP "
                "address is not allowed."
            ),
        ),
        404: ("not_found", "No Core has this name."),
        409: ("conflict", "Another key has registered this name, or the lease is no longer valid."),
        426: ("upgrade_required", "The version of the WebSocket handshake is not 13."),
        429: (
            "RATE_LIMITED",
            "A rate limit of the key is exceeded. Retry after `Retry-After` seconds.",
        ),
        501: (
            "upgrade_unsupported",
            "The connection upgrade is not supported. Only WebSocket is supported.",
        ),
        502: ("core_unreachable", "The Core cannot be reached."),
        503: (
            "unavailable",
            "A dependency or the Core is unavailable. Retry after `Retry-After` seconds.",
        ),
        504: ("core_timeout", "The Core did not respond in time."),
    },
)

_key = partial(Endpoint, tag="keys", security=())
_core = partial(Endpoint, tag="cores", security=_KEY, feature=PROXY.name)
_probe = partial(Endpoint, method="GET", tag="health", security=())

ENDPOINTS = (
    _key(
        method="POST",
        path=synchronous.PATH,
        handler=endpoints.verify_key,
        body=VerifyRequest,
        response=VerifyReply,
        response_description="The decision.",
        responses={
            503: Response(
                "The gateway is temporarily unable to make a decision (code `UNAVAILABLE`).",
                VerifyReply,
                problem=True,
            )
        },
    ),
    _key(
        method="GET",
        path=synchronous.PATH,
        handler=endpoints.verify_key_header,
        security=_KEY,
        feature=HEADER.name,
        query=VerifyQuery,
        response_description="The key is valid.",
        errors=(400,),
        responses={
            401: Response("The key is missing, unknown, disabled or expired."),
            402: Response("The credits of the key are used up."),
            403: Response("The key does not permit this request."),
            429: Response("A rate limit of the key is exceeded."),
            503: Response("The gateway is temporarily unable to make a decision."),
        },
    ),
    _key(
        method="POST",
        path="/v1/keys/revoke-self",
        handler=endpoints.revoke_self,
        feature=SELF.name,
        body=SelfRevocationRequest,
        response=SelfRevocationResponse,
        errors=(401, 503),
    ),
    *(
        _core(
            method=method,
            path=PATH,
            handler=forward,
            security=(*_KEY, "basic"),
            operation_id=f"{method.lower()}_core",
            status=0,
            response_description="The response from the Core.",
            errors=(400, 401, 402, 403, 404, 413, 426, 429, 501, 502, 503, 504),
        )
        for method in _METHODS
    ),
    _core(
        method="PUT",
        path="/v1/cores/{name}",
        handler=endpoints.register_core,
        body=LeaseRequest,
        response=Lease,
        errors=(401, 402, 403, 409, 429, 503),
    ),
    _core(
        method="DELETE",
        path="/v1/cores/{name}",
        handler=endpoints.drain_core,
        query=DrainCore,
        status=204,
        errors=(400, 401, 402, 403, 409, 429, 503),
    ),
    _probe(path="/healthz", handler=endpoints.health, response=Health),
    _probe(
        path=asgi.READY_PATH,
        handler=endpoints.readiness,
        response=Readiness,
        responses={503: Response("A required dependency is unavailable.", Readiness)},
    ),
    _probe(
        path="/metrics",
        handler=endpoints.metrics,
        content={
            "text/plain": {
                "schema": {"type": "string"},
                "example": 'gatehouse_decisions_total{code="VALID"} 42.0\n',
            }
        },
    ),
)


def create(dependencies: Dependencies) -> GatewayApp:
    """The application with the endpoints of the enabled features. Paths with parameters are matched
    by prefix.
    """
    exact: dict[bytes, Route] = {}
    prefixes: dict[bytes, Route] = {}
    verification = synchronous.SynchronousVerification(dependencies)
    respond_now: dict[Any, Respond] = {
        endpoints.verify_key: verification.respond,
        endpoints.verify_key_header: verification.respond_to_header,
    }
    routes = SynchronousRoutes()
    for endpoint in ENDPOINTS:
        if endpoint.feature in dependencies.features_off or endpoint.handler is None:
            continue
        start, parameter, _ = endpoint.path.partition("{")
        path = start.encode()
        route = (prefixes if parameter else exact).setdefault(path, Route(endpoint.path))
        if endpoint.handler is forward:
            route.any_method = forward
            routes.prefixes[path] = SynchronousForwarding(dependencies).respond
            continue
        route.add(endpoint.method, endpoint.handler)
        respond = respond_now.get(endpoint.handler)
        if respond is not None:
            routes.exact.setdefault(path, {})[endpoint.method] = respond
    exact[b"/openapi.json"] = route = Route("/openapi.json")
    route.add("GET", _openapi_json)
    return GatewayApp(dependencies, exact, prefixes, routes)


async def _openapi_json(context: RequestContext) -> asgi.Response:
    return context.response(200, _encoded_document())


@cache
def _encoded_document() -> bytes:
    """The OpenAPI document, built for the first request, because building it takes a twentieth of
    the time of a start.
    """
    return asgi.encode(document())


def document() -> dict[str, Any]:
    """The OpenAPI document of the gateway."""
    return openapi.document(API, ENDPOINTS)
