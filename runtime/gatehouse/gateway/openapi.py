"""GET /openapi.json: the contract of the gateway's few routes, written by hand, since no framework draws it here."""

from __future__ import annotations

from gatehouse import __version__
from gatehouse.gateway.openapi_schemas import CORE_NAME, LEASE_ID, METHOD, REQUEST_ID, SCHEMAS, SCOPES, Json
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi

_KEY: list[Json] = [{"bearer": []}, {"header": []}]

_NAME: Json = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Name of a Core.",
    "schema": CORE_NAME,
    "example": "docs",
}

#: status -> code of the example, and when it is.
_TEXTS = {
    400: ("bad_request", "The request is malformed; `errors` says where and what to send instead."),
    401: ("unauthorized", "No valid key. `WWW-Authenticate` says how to send one."),
    402: ("USAGE_EXCEEDED", "The credits of the key are used up."),
    403: ("FORBIDDEN", "The key may not be used here: its Cores, scopes, methods or addresses do not allow it."),
    404: ("not_found", "No Core has this name."),
    409: ("conflict", "The name is leased to another key, or the lease has ended."),
    413: ("body_too_large", "The body is larger than this deployment reads."),
    415: ("unsupported_media_type", "The body is not JSON in UTF-8; `errors` says what to send."),
    429: ("RATE_LIMITED", "A rate limit of the key is used up; `Retry-After` says how many seconds to wait."),
    500: ("internal", "Our fault; quote the request id."),
    501: ("upgrade_unsupported", "Connections are not upgraded, so no WebSocket passes."),
    502: ("core_unreachable", "The Core cannot be reached."),
    503: ("unavailable", "A dependency or the Core is unavailable. Try again after `Retry-After` seconds."),
    504: ("core_timeout", "The Core took too long to answer."),
}


class OpenApi:
    """The document is the same for everybody, so it is encoded once."""

    def __init__(self) -> None:
        self._body = asgi.encode(document())

    async def __call__(self, exchange: RequestContext) -> None:
        await exchange.reply(200, self._body)


def document() -> Json:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gatehouse gateway",
            "version": __version__,
            "description": "Verifies API keys and lets them through to Cores. Errors are problem documents (RFC 9457). "
            "A body is JSON in UTF-8, also where it comes as a form, as curl sends it by itself; no member is named twice.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/keys/verify": {"post": _verify(), "get": _verify_header()},
            "/v1/keys/verify-batch": {"post": _verify_batch()},
            "/v1/keys/revoke-self": {"post": _revoke_self()},
            "/cores/{name}/{path}": _proxy(),
            "/v1/cores/{name}": {"parameters": [_NAME], "put": _register(), "delete": _drain()},
            "/healthz": {"get": _healthz()},
            "/readyz": {"get": _readyz()},
            "/metrics": {"get": _metrics()},
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "schemas": SCHEMAS,
        },
    }


def _verify() -> Json:
    undecided = _json("No decision can be made at the moment (code UNAVAILABLE)", "VerifyReply")
    undecided["content"] |= _problem(503)["content"]
    return {
        "summary": "Decide on a key",
        "description": "200 for every decision, good or bad: `valid` and `code` say which. A refusal uses nothing up.",
        "operationId": "verifyKey",
        "tags": ["keys"],
        "requestBody": _body("VerifyRequest"),
        "responses": {
            "200": _json("A decision; `valid` and `code` say which", "VerifyReply"),
            "503": undecided,
            **_problems(400, 413, 415, 500),
        },
    }


def _verify_batch() -> Json:
    return {
        "summary": "Decide on many keys",
        "description": "Each is answered like one that came alone, in the same order. A limit that cannot be counted refuses the "
        "whole batch, before anything is used up.",
        "operationId": "verifyKeys",
        "tags": ["keys"],
        "requestBody": _body("BatchRequest"),
        "responses": {"200": _json("One decision a question", "BatchReply"), **_problems(400, 413, 415, 500, 503)},
    }


def _revoke_self() -> Json:
    return {
        "summary": "End a key for good",
        "description": "Holding its token is the right to do so. Every token that proves nothing is answered alike.",
        "operationId": "revokeSelf",
        "tags": ["keys"],
        "requestBody": _body("SelfRevoke"),
        "responses": {"200": _json("Revoked", "SelfRevoked"), **_problems(400, 401, 413, 415, 500, 503)},
    }


def _verify_header() -> Json:
    return {
        "summary": "Decide on the key in the request's own headers",
        "description": "The status is the answer and the body is empty, for `auth_request` of nginx and its like.",
        "operationId": "verifyKeyHeader",
        "tags": ["keys"],
        "security": _KEY,
        "parameters": [
            {
                "name": "scope",
                "in": "query",
                "schema": SCOPES,
                "description": "What the key is needed for; may repeat.",
                "example": ["cores:read"],
            },
            {"name": "core", "in": "query", "schema": CORE_NAME, "description": "At which Core.", "example": "docs"},
            {"name": "method", "in": "query", "schema": METHOD, "description": "With which method.", "example": "GET"},
        ],
        "responses": {
            "200": {"description": "Valid"},
            "401": {"description": "Missing, unknown, disabled or expired"},
            "402": {"description": "The credits of the key are used up"},
            "403": {"description": "Not for this"},
            "429": {"description": "A rate limit is used up"},
            "503": {"description": "No decision can be made at the moment"},
            **_problems(400, 500),
        },
    }


def _proxy() -> Json:
    operation = {
        "summary": "Hand a request to a Core",
        "description": "Path, query and body go on as they came, once the key allows it. The answer is the Core's own.",
        "tags": ["cores"],
        "security": _KEY,
        "responses": {
            "default": {"description": "The Core's own answer"},
            **_problems(400, 401, 402, 403, 404, 413, 429, 500, 501, 502, 503, 504),
        },
    }
    path = {
        "name": "path",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "maxLength": 8192},
        "description": "Sent on as it came, slashes and all.",
        "example": "reports/2030.pdf",
    }
    methods = ("get", "head", "post", "put", "patch", "delete", "options")
    return {"parameters": [_NAME, path], **{method: {**operation, "operationId": f"{method}Core"} for method in methods}}


def _register() -> Json:
    return {
        "summary": "Register a Core, or renew its lease",
        "description": "With url: the name is the key's own from then on. With lease_id: a heartbeat, due every heartbeat_s.",
        "operationId": "registerCore",
        "tags": ["cores"],
        "security": _KEY,
        "requestBody": _body("LeaseRequest"),
        "responses": {"200": _json("The lease", "Lease"), **_problems(400, 401, 402, 403, 409, 413, 415, 429, 500, 503)},
    }


def _drain() -> Json:
    return {
        "summary": "A Core leaves",
        "description": "Requests that have begun are finished; no other one is sent to it.",
        "operationId": "drainCore",
        "tags": ["cores"],
        "security": _KEY,
        "parameters": [
            {
                "name": "lease_id",
                "in": "query",
                "required": True,
                "schema": LEASE_ID,
                "description": "Of the registration.",
                "example": "vQ2rX0m3kT9sLwYbN5cD8eFg",
            }
        ],
        "responses": {
            "204": {"description": "No request is sent to it any more"},
            **_problems(400, 401, 402, 403, 409, 429, 500, 503),
        },
    }


def _healthz() -> Json:
    return {
        "summary": "The process answers",
        "description": "Does not check dependencies. For liveness probes.",
        "operationId": "health",
        "tags": ["health"],
        "responses": {"200": _json("It does", "Health"), **_problems(500)},
    }


def _readyz() -> Json:
    return {
        "summary": "It can decide on keys",
        "description": "`degraded` when it lacks a helper, such as Redis, and goes on; 503 when it cannot go on.",
        "operationId": "readiness",
        "tags": ["health"],
        "responses": {"200": _json("It can", "Readiness"), "503": _json("Not now", "Readiness"), **_problems(500)},
    }


def _metrics() -> Json:
    text = {"schema": {"type": "string"}, "example": 'gatehouse_decisions_total{code="VALID"} 42.0\n'}
    return {
        "summary": "Metrics in the Prometheus text format",
        "description": "For scrapers inside the network; the load balancer does not route it.",
        "operationId": "metrics",
        "tags": ["health"],
        "responses": {"200": {"description": "The metrics", "content": {"text/plain": text}}, **_problems(500)},
    }


def _body(schema: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _json(description: str, schema: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _problems(*statuses: int) -> Json:
    return {str(status): _problem(status) for status in statuses}


def _problem(status: int) -> Json:
    code, text = _TEXTS[status]
    example = {
        "type": asgi.PROBLEM_TYPE + code.lower(),
        "title": text.partition(".")[0],
        "status": status,
        "detail": text,
        "code": code,
        "request_id": REQUEST_ID,
    }
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": text, "content": {"application/problem+json": content}}
