"""GET /openapi.json: the contract of the gate's few routes, written by hand, since no framework draws it here."""

from __future__ import annotations

from typing import Any

from gatehouse import __version__
from gatehouse.core.signature import Flaw
from gatehouse.doors import asgi
from gatehouse.doors.gate.exchange import Exchange
from gatehouse.types import Code
from gatehouse.wire import verify as wire

Json = dict[str, Any]


class OpenApi:
    """The document is the same for everybody, so it is encoded once."""

    def __init__(self) -> None:
        self._body = asgi.encode(document())

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.reply(200, self._body)


def document() -> Json:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gatehouse gate",
            "version": __version__,
            "description": "Verifies API keys and lets them through to Cores. Errors are problem documents (RFC 9457).",
        },
        "paths": {
            "/v1/keys/verify": {"post": _verify(), "get": _verify_header()},
            "/v1/keys/verify-batch": {"post": _verify_batch()},
            "/v1/keys/revoke-self": {"post": _revoke_self()},
            "/cores/{name}/{path}": _proxy(),
            "/v1/cores/{name}": {"parameters": [_NAME], "put": _register(), "delete": _drain()},
            "/healthz": {"get": _plain("The process answers", "health")},
            "/readyz": {"get": _plain("It can decide on keys", "health", unready=True)},
            "/metrics": {"get": _plain("Metrics in the Prometheus text format; for scrapers inside the network", "health")},
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "schemas": {
                "Problem": _PROBLEM,
                "VerifyRequest": _VERIFY_REQUEST,
                "SignedRequest": _SIGNED_REQUEST,
                "VerifyReply": _VERIFY_REPLY,
                "BatchReply": _BATCH_REPLY,
                "SelfRevoked": _SELF_REVOKED,
                "Lease": _LEASE,
            },
        },
    }


_KEY: list[Json] = [{"bearer": []}, {"header": []}]
_OK: Json = {"description": "OK"}
_NAME: Json = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"},
}
_TEXT: Json = {"type": "string"}
_MAYBE_TEXT: Json = {"type": ["string", "null"]}
_SCOPES: Json = {"type": "array", "maxItems": 50, "items": {"type": "string", "pattern": "^[a-z0-9:_.*-]{1,64}$"}}
_PROBLEM: Json = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "code": _TEXT,
        "request_id": _TEXT,
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"location": _TEXT, "message": _TEXT, "fix": _TEXT}},
        },
    },
}
_LIMIT: Json = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "limit": {"type": "integer"},
        "window_s": {"type": "integer"},
        "remaining": {"type": "integer"},
        "reset_s": {"type": "number"},
        "exceeded": {"type": "boolean"},
        "degraded": {"type": "boolean", "description": "Counted by this worker alone, while Redis is away."},
    },
}
_VERIFY_REPLY: Json = {
    "type": "object",
    "properties": {
        "valid": {"type": "boolean"},
        "code": {"type": "string", "enum": [code.value for code in Code if code is not Code.REVOKED]},
        "reason": {
            "type": ["string", "null"],
            "enum": [*(flaw.value for flaw in Flaw), None],
            "description": "Of SIGNATURE_INVALID: what is wrong with the signature.",
        },
        "key_id": _MAYBE_TEXT,
        "name": _MAYBE_TEXT,
        "owner": _MAYBE_TEXT,
        "environment": {"type": ["string", "null"], "enum": ["test", "live", None]},
        "scopes": {"type": ["array", "null"], "items": _TEXT},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
        "limits": {"type": "array", "items": _LIMIT},
        "credits": {
            "type": ["object", "null"],
            "description": "Of a key that has credits, once everything before them was in order.",
            "properties": {
                "remaining": {"type": "integer"},
                "exceeded": {"type": "boolean"},
                "refills_at": {"type": ["string", "null"], "format": "date-time"},
            },
        },
        "staleness_ms": {"type": "integer", "description": "How old, at most, the state of keys behind this answer is."},
        "decided_at": {"type": "string", "format": "date-time"},
        "request_id": _TEXT,
    },
}
_VERIFY_REQUEST: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["token"],
    "properties": {
        "token": {"type": "string", "maxLength": wire.TOKEN_CHARS_MAX},
        "scopes": _SCOPES,
        "core": _MAYBE_TEXT,
        "cost": {"type": "integer", "minimum": 0, "maximum": wire.COST_MAX, "default": 1, "description": "0 looks only."},
        "address": {"type": ["string", "null"], "maxLength": 64, "description": "Who uses the key; default: who asks."},
        "method": {"type": ["string", "null"], "pattern": "^[A-Z]{1,16}$"},
        "request": {"anyOf": [{"$ref": "#/components/schemas/SignedRequest"}, {"type": "null"}]},
        "limits": {
            "type": "array",
            "maxItems": wire.LIMITS_MAX,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "description": "With quota and window_s a limit that the question brings; without them one of the key's.",
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,63}$"},
                    "cost": {"type": "integer", "minimum": 0, "maximum": wire.COST_MAX, "default": 1},
                    "quota": {"type": ["integer", "null"], "minimum": 1, "maximum": wire.QUOTA_MAX},
                    "window_s": {"type": ["integer", "null"], "minimum": 1, "maximum": wire.WINDOW_S_MAX},
                    "burst": {"type": ["integer", "null"], "minimum": 1, "maximum": wire.QUOTA_MAX},
                },
            },
        },
    },
    "examples": [
        {
            "token": "gtk_test_3fGh82kLmQ0a...",
            "scopes": ["cores:read"],
            "core": "docs",
            "address": "192.0.2.7",
            "method": "GET",
            "limits": [{"name": "requests", "cost": 5}, {"name": "per_file", "quota": 10, "window_s": 60}],
        }
    ],
}
_SIGNED_REQUEST: Json = {
    "type": "object",
    "description": "The client's own request, for a key whose requests are signed (RFC 9421).",
    "additionalProperties": False,
    "required": ["method", "url", "headers"],
    "properties": {
        "method": {"type": "string", "pattern": "^[A-Z]{1,16}$"},
        "url": {"type": "string", "maxLength": wire.URL_CHARS_MAX, "description": "Absolute, as the client sent it."},
        "headers": {
            "type": "array",
            "maxItems": wire.HEADERS_MAX,
            "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": _TEXT},
            "description": "[name, value] as received: Signature-Input, Signature and what it covers.",
        },
        "body_sha256": {"type": ["string", "null"], "description": "Base64 of SHA-256 of the body as received; null: no body."},
    },
    "examples": [
        {
            "method": "GET",
            "url": "https://api.example.com/v1/orders",
            "headers": [["signature-input", "gatehouse=..."], ["signature", "gatehouse=:...:"]],
            "body_sha256": None,
        }
    ],
}
_BATCH_REPLY: Json = {
    "type": "object",
    "required": ["results"],
    "properties": {"results": {"type": "array", "items": {"$ref": "#/components/schemas/VerifyReply"}}},
}
_SELF_REVOKED: Json = {
    "type": "object",
    "properties": {"key_id": _TEXT, "effective": {"type": "string", "enum": ["within_bound"]}, "request_id": _TEXT},
    "examples": [{"key_id": "3fGh82kLmQ0a", "effective": "within_bound", "request_id": "req_0199f3a8c0d1b6e5f4a3928170"}],
}
_LEASE: Json = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "url": _TEXT,
        "lease_id": _TEXT,
        "expires_at": {"type": "string", "format": "date-time"},
        "heartbeat_s": {"type": "integer"},
        "core_secret": {"type": "string", "description": "Once a registration; the gate sends it with each request to the Core."},
    },
}


def _verify() -> Json:
    return {
        "summary": "Decide on a key",
        "operationId": "verifyKey",
        "tags": ["keys"],
        "requestBody": _body({"$ref": "#/components/schemas/VerifyRequest"}),
        "responses": {
            "200": _json("A decision; `valid` and `code` say which", "VerifyReply"),
            "503": _json("No decision can be made at the moment (code UNAVAILABLE)", "VerifyReply"),
            **_problems(400, 413),
        },
    }


def _verify_batch() -> Json:
    keys = {
        "type": "array",
        "minItems": 1,
        "maxItems": wire.BATCH_MAX,
        "items": {"$ref": "#/components/schemas/VerifyRequest"},
    }
    asked = {"type": "object", "additionalProperties": False, "required": ["keys"], "properties": {"keys": keys}}
    return {
        "summary": "Decide on many keys; each is answered like one that came alone, in the same order",
        "operationId": "verifyKeys",
        "tags": ["keys"],
        "requestBody": _body(asked),
        "responses": {"200": _json("One decision a question", "BatchReply"), **_problems(400, 413)},
    }


def _revoke_self() -> Json:
    asked = {
        "type": "object",
        "additionalProperties": False,
        "required": ["token"],
        "properties": {
            "token": {"type": "string", "maxLength": wire.TOKEN_CHARS_MAX},
            "reason": {"type": "string", "maxLength": 300},
        },
        "examples": [{"token": "gtk_test_3fGh82kLmQ0a...", "reason": "pasted into a chat"}],
    }
    return {
        "summary": "End a key for good; holding its token is the right to do so",
        "operationId": "revokeSelf",
        "tags": ["keys"],
        "requestBody": _body(asked),
        "responses": {"200": _json("Revoked", "SelfRevoked"), **_problems(400, 401, 413, 503)},
    }


def _body(schema: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _verify_header() -> Json:
    return {
        "summary": "Decide on the key in the request's own headers; the status is the answer, the body is empty",
        "operationId": "verifyKeyHeader",
        "tags": ["keys"],
        "security": _KEY,
        "parameters": [
            {"name": "scope", "in": "query", "schema": {"type": "array", "items": _TEXT}},
            {"name": "core", "in": "query", "schema": _TEXT},
            {"name": "method", "in": "query", "schema": _TEXT},
        ],
        "responses": {
            "200": {"description": "Valid"},
            "401": {"description": "Missing, unknown, disabled or expired"},
            "402": {"description": "The credits of the key are used up"},
            "403": {"description": "Not for this"},
            "429": {"description": "A rate limit is used up"},
            "503": {"description": "No decision can be made at the moment"},
            **_problems(400),
        },
    }


def _proxy() -> Json:
    operation = {
        "summary": "Hand a request to a Core",
        "tags": ["cores"],
        "security": _KEY,
        "responses": {
            "default": {"description": "The Core's own answer"},
            **_problems(400, 401, 402, 403, 404, 429, 501, 502, 503, 504),
        },
    }
    path = {"name": "path", "in": "path", "required": True, "schema": _TEXT, "description": "Sent on as it came."}
    methods = ("get", "head", "post", "put", "patch", "delete", "options")
    return {"parameters": [_NAME, path], **{method: {**operation, "operationId": f"{method}Core"} for method in methods}}


def _register() -> Json:
    body = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"url": {"type": "string", "format": "uri"}, "ttl_s": {"type": "integer", "minimum": 5}, "lease_id": _TEXT},
    }
    return {
        "summary": "Register a Core (url), or renew its lease (lease_id)",
        "operationId": "registerCore",
        "tags": ["cores"],
        "security": _KEY,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": _json("The lease", "Lease"), **_problems(400, 401, 402, 403, 409, 429, 503)},
    }


def _drain() -> Json:
    return {
        "summary": "A Core leaves",
        "operationId": "drainCore",
        "tags": ["cores"],
        "security": _KEY,
        "parameters": [{"name": "lease_id", "in": "query", "required": True, "schema": _TEXT}],
        "responses": {
            "204": {"description": "No request is sent to it any more"},
            **_problems(400, 401, 402, 403, 409, 429, 503),
        },
    }


def _plain(summary: str, tag: str, *, unready: bool = False) -> Json:
    return {
        "summary": summary,
        "tags": [tag],
        "responses": {"200": _OK, **({"503": {"description": "Not now"}} if unready else {})},
    }


def _json(description: str, schema: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _problems(*statuses: int) -> Json:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": "Problem", "content": content} for status in statuses}
