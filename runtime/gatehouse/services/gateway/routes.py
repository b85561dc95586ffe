"""Declares the endpoints of the gateway. The routes and the OpenAPI document are derived from this
declaration.
"""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

import msgspec

from gatehouse.core.features import HEADER, PROXY, SELF
from gatehouse.features.cores.schemas import DrainCore, LeaseRequest
from gatehouse.features.keys.fields import LimitName
from gatehouse.features.verification.schemas import (
    TakeReply,
    VerifyQuery,
    VerifyReply,
    VerifyRequest,
)
from gatehouse.platform.web import health, openapi
from gatehouse.platform.web.application import Handler, Routes
from gatehouse.platform.web.endpoint import Endpoint, Response
from gatehouse.platform.web.fields import CoreName
from gatehouse.platform.web.openapi import Api
from gatehouse.platform.web.request import Reply
from gatehouse.services.gateway import endpoints
from gatehouse.services.gateway.check import check
from gatehouse.services.gateway.completions import PATH
from gatehouse.services.gateway.request import Dependencies, GatewayRequest

_KEY = ("bearer", "header")
_VERIFY = "/v1/keys/verify"
#: Methods of the proxy in the OpenAPI document. The proxy also forwards other methods.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

API = Api(
    title="Gatehouse gateway",
    description="Verifies API keys and forwards requests to Cores. Errors are problem documents "
    "(RFC 9457). Request bodies are JSON, encoded as UTF-8. Content-Type can be omitted, and those "
    "that curl and fetch send by default are accepted.",
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
    tags={
        "keys": "Decisions on API keys.",
        "limits": "Limits for users, addresses or tenants that have no key.",
        "cores": "Registrations of Cores, and requests to Cores.",
        "health": "State and metrics of the service.",
    },
    path_parameters={
        "name": ("Name of the Core.", msgspec.json.schema(CoreName), "docs"),
        "limit": ("Name of the limit.", msgspec.json.schema(LimitName), "sign-in"),
        "path": (
            "Path on the Core, forwarded unchanged. The path can contain slashes.",
            {"type": "string", "maxLength": 16384},
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
        404: ("not_found", "No Core or no limit has this name."),
        409: ("conflict", "Another key has registered this name, or the lease is no longer valid."),
        426: ("upgrade_required", "The version of the WebSocket handshake is not 13."),
        429: (
            "RATE_LIMITED",
            "A rate limit of the key is exceeded. Retry after `Retry-After` seconds.",
        ),
        502: ("core_unreachable", "The Core cannot be reached, or its response is malformed."),
        503: (
            "unavailable",
            "A dependency or the Core is unavailable. Retry after `Retry-After` seconds.",
        ),
        504: ("core_timeout", "The Core did not respond in time."),
    },
)

_key = partial(Endpoint, tag="keys", security=())
_limit = partial(
    Endpoint,
    "POST",
    tag="limits",
    security=_KEY,
    response=TakeReply,
    response_description="The decision.",
)
_core = partial(Endpoint, tag="cores", security=_KEY, feature=PROXY)

ENDPOINTS = (
    _key(
        "POST",
        _VERIFY,
        endpoints.verify_key,
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
        "GET",
        _VERIFY,
        endpoints.verify_key_header,
        security=_KEY,
        feature=HEADER,
        query=VerifyQuery,
        response_description="The key is valid.",
        errors=(400, 401, 402, 403, 429, 503),
    ),
    _key(
        "GET",
        endpoints.AUTHORIZE,
        endpoints.authorize_key,
        security=_KEY,
        feature=HEADER,
        query=VerifyQuery,
        response_description="The request is allowed.",
        errors=(400, 401, 402, 403, 429, 503),
    ),
    _limit("/v1/limits/{limit}/take", endpoints.take_limit, errors=(400, 401, 403, 404, 429, 503)),
    _limit("/v1/limits/take", endpoints.take_limits, errors=(400, 401, 403, 404, 429, 503)),
    _key("POST", "/v1/keys/revoke-self", endpoints.revoke_self, feature=SELF, errors=(401, 503)),
    *(
        _core(
            method,
            PATH,
            check,
            security=(*_KEY, "basic"),
            operation_id=f"{method.lower()}_core",
            status=0,
            response_description="The response from the Core.",
            errors=(400, 401, 402, 403, 404, 413, 426, 429, 502, 503, 504),
        )
        for method in _METHODS
    ),
    _core(
        "PUT",
        "/v1/cores/{name}",
        endpoints.register_core,
        body=LeaseRequest,
        errors=(401, 402, 403, 409, 429, 503),
    ),
    _core(
        "DELETE",
        "/v1/cores/{name}",
        endpoints.drain_core,
        query=DrainCore,
        status=204,
        errors=(400, 401, 402, 403, 409, 429, 503),
    ),
    *health.ENDPOINTS,
    health.METRICS,
)


def create(dependencies: Dependencies) -> Routes:
    routes = Routes(dependencies)
    enabled = [
        endpoint
        for endpoint in ENDPOINTS
        if endpoint.feature not in dependencies.features.configured_off
    ]
    dependencies.add(routes, [item for item in enabled if item.handler is not check])
    routes.add(_VERIFY, endpoints.verify_key_options, "OPTIONS")
    routes.add("/openapi.json", openapi.handler(document))
    return routes


def api_handler(dependencies: Dependencies) -> Handler:
    """The handler of the requests that are not for a Core."""
    respond = create(dependencies).router()

    decides = HEADER not in dependencies.features.configured_off
    authorize, verify = endpoints.AUTHORIZE.encode(), _VERIFY.encode()

    def handle(request: GatewayRequest) -> Awaitable[Reply | None]:
        if request.raw_path == verify:
            return respond(request)
        if decides and request.raw_path.startswith(authorize):  # with any method and path after it
            request.check_head()
            request.template = endpoints.AUTHORIZE
            dependencies.features.check(HEADER)
            return endpoints.authorize_key(request)
        return respond_in_task(request)

    async def respond_in_task(request: GatewayRequest) -> Reply | None:
        await asyncio.sleep(0)  # continues in a task (decide.py)
        return await respond(request)

    return handle


def document() -> dict[str, Any]:
    return openapi.document(API, ENDPOINTS)
