"""Endpoints of the gateway for its OpenAPI document. `gateway/routes.py` routes them."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from gatehouse.cores.schemas import DrainCore, Lease, LeaseRequest
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi, openapi
from gatehouse.http.endpoint import Endpoint, Response
from gatehouse.http.fields import CoreName
from gatehouse.http.health import Health, Readiness
from gatehouse.http.openapi import Api
from gatehouse.keys.self_revocation import SelfRevocationRequest, SelfRevocationResponse
from gatehouse.verification.schemas import BatchReply, BatchRequest, VerifyQuery, VerifyReply, VerifyRequest

_KEY = ("bearer", "header")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

API = Api(
    title="Gatehouse gateway",
    description="Verifies API keys and forwards requests to Cores. Errors are problem documents (RFC 9457). Request bodies"
    " are JSON encoded as UTF-8; a missing Content-Type, or the form type that curl sends by default, is accepted too.",
    security_schemes={
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
    },
    path_parameters={
        "name": (
            "Name of the Core.",
            msgspec.json.schema(CoreName),
            "docs",
        ),
        "path": (
            "Path at the Core, forwarded unchanged. It may contain slashes.",
            {"type": "string", "maxLength": 8192},
            "reports/2030.pdf",
        ),
    },
    errors={
        401: ("unauthorized", "The API key is missing or invalid. `WWW-Authenticate` names the accepted schemes."),
        402: ("USAGE_EXCEEDED", "The credits of the key are used up."),
        403: ("FORBIDDEN", "The key does not permit this request: its Cores, scopes, methods or addresses do not match."),
        404: ("not_found", "No Core has this name."),
        409: ("conflict", "Another key registered this name, or the lease has ended."),
        429: ("RATE_LIMITED", "A rate limit of the key is exceeded. Retry after `Retry-After` seconds."),
        501: ("upgrade_unsupported", "Connection upgrades such as WebSocket are not supported."),
        502: ("core_unreachable", "The Core cannot be reached."),
        503: ("unavailable", "A dependency or the Core is unavailable. Retry after `Retry-After` seconds."),
        504: ("core_timeout", "The Core did not respond in time."),
    },
)

_public = partial(Endpoint, security=())
_authenticated = partial(Endpoint, security=_KEY, tag="cores")
_proxy = partial(
    _authenticated,
    path="/cores/{name}/{path}",
    summary="Forward a request to a Core",
    description="If the key permits it, forwards the request with its path, query and body, and returns the"
    " response of the Core.",
    status=0,
    response_description="The response of the Core.",
    errors=(400, 401, 402, 403, 404, 413, 429, 501, 502, 503, 504),
)

ENDPOINTS = (
    _public(
        method="POST",
        path="/v1/keys/verify",
        tag="keys",
        operation_id="verifyKey",
        summary="Verify a key",
        description="Returns 200 for every decision: `valid` and `code` contain the result. A denied request uses no limits"
        " or credits.",
        body=VerifyRequest,
        response=VerifyReply,
        response_description="The decision.",
        responses={503: Response("No decision is possible at the moment (code `UNAVAILABLE`).", VerifyReply, problem=True)},
    ),
    _public(
        method="GET",
        path="/v1/keys/verify",
        tag="keys",
        security=_KEY,
        operation_id="verifyKeyHeader",
        summary="Verify the key of the request",
        description="The status contains the result and the body is empty, for nginx `auth_request` and similar gateways.",
        query=VerifyQuery,
        response_description="The key is valid.",
        errors=(400,),
        responses={
            401: Response("The key is missing, unknown, disabled or expired."),
            402: Response("The credits of the key are used up."),
            403: Response("The key does not permit this request."),
            429: Response("A rate limit of the key is exceeded."),
            503: Response("No decision is possible at the moment."),
        },
    ),
    _public(
        method="POST",
        path="/v1/keys/verify-batch",
        tag="keys",
        operation_id="verifyKeys",
        summary="Verify several keys",
        description="Each result equals that of a single verification, in the order of the request. If a limit of one entry"
        " cannot be counted, the whole batch is rejected before any limits or credits are used.",
        body=BatchRequest,
        response=BatchReply,
        errors=(503,),
    ),
    _public(
        method="POST",
        path="/v1/keys/revoke-self",
        tag="keys",
        operation_id="revokeSelf",
        summary="Revoke a key with its token",
        description="The token is the only credential. The response is the same for every token that does not belong to an active"
        " or disabled key.",
        body=SelfRevocationRequest,
        response=SelfRevocationResponse,
        errors=(401, 503),
    ),
    *(_proxy(method=method, operation_id=f"{method.lower()}Core") for method in _METHODS),
    _authenticated(
        method="PUT",
        path="/v1/cores/{name}",
        operation_id="registerCore",
        summary="Register a Core or renew its lease",
        description="With `url`, registers the Core; the name then belongs to the key. With `lease_id`, renews the lease,"
        " which is due every `heartbeat_s` seconds.",
        body=LeaseRequest,
        response=Lease,
        errors=(401, 402, 403, 409, 429, 503),
    ),
    _authenticated(
        method="DELETE",
        path="/v1/cores/{name}",
        operation_id="drainCore",
        summary="Drain a Core",
        description="Requests in progress are completed. The Core receives no new requests.",
        query=DrainCore,
        status=204,
        errors=(400, 401, 402, 403, 409, 429, 503),
    ),
    _public(
        method="GET",
        path="/healthz",
        tag="health",
        operation_id="health",
        summary="Check liveness",
        description="Responds if the process is running. Checks no dependencies.",
        response=Health,
    ),
    _public(
        method="GET",
        path="/readyz",
        tag="health",
        operation_id="readiness",
        summary="Check readiness",
        description="Responds 503 if a required dependency is unavailable.",
        response=Readiness,
        responses={503: Response("A required dependency is unavailable.", Readiness)},
    ),
    _public(
        method="GET",
        path="/metrics",
        tag="health",
        operation_id="metrics",
        summary="Retrieve metrics",
        description="Metrics in the Prometheus text format. The load balancer does not route this path.",
        content={"text/plain": {"schema": {"type": "string"}, "example": 'gatehouse_decisions_total{code="VALID"} 42.0\n'}},
    ),
)


class OpenApi:
    """GET /openapi.json. The document is the same for every caller, so it is encoded once."""

    def __init__(self) -> None:
        self._body = asgi.encode(document())

    async def __call__(self, context: RequestContext) -> None:
        await context.reply(200, self._body)


def document() -> dict[str, Any]:
    """The OpenAPI document of the gateway."""
    return openapi.document(API, ENDPOINTS)
