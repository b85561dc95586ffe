"""JSON schemas of the gateway in /openapi.json: members, bounds and examples."""

from __future__ import annotations

from typing import Any

from gatehouse.cores import registration_schemas as lease
from gatehouse.cores.service import LEASE_S_MIN
from gatehouse.crypto.http_signatures import SignatureError
from gatehouse.keys import self_revocation as selfrevoke
from gatehouse.verification import schemas as wire
from gatehouse.verification.models import Code

Json = dict[str, Any]
TEXT: Json = {"type": "string"}
CORE_NAME: Json = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", "maxLength": 40}
SCOPE: Json = {"type": "string", "pattern": "^[a-z0-9:_.*-]{1,64}$", "maxLength": 64}
SCOPES: Json = {"type": "array", "maxItems": wire.SCOPES_MAX, "items": SCOPE}
METHOD: Json = {"type": "string", "pattern": "^[A-Z]{1,16}$", "maxLength": 16}
LEASE_ID: Json = {"type": "string", "minLength": 1, "maxLength": lease.LEASE_ID_CHARS_MAX}
_INSTANT: Json = {"type": "string", "format": "date-time"}
_COST: Json = {"type": "integer", "minimum": 0, "maximum": wire.COST_MAX, "default": 1}
REQUEST_ID = "req_0199f3a8c0d1b6e5f4a3928170"
TOKEN = "gtk_test_3fGh82kLmQ0a..."  # noqa: S105 - an example


def _maybe(schema: Json) -> Json:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "code": {"type": "string", "description": "Stable, for programs; of a decision in capitals, as in VerifyReply."},
        "request_id": TEXT,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["location", "message"],
                "properties": {"location": {"type": "string", "examples": ["body.cost"]}, "message": TEXT, "fix": TEXT},
            },
        },
    },
}

_LIMIT: Json = {
    "type": "object",
    "required": ["name", "limit", "window_s", "remaining", "reset_s", "exceeded", "degraded"],
    "properties": {
        "name": TEXT,
        "limit": {"type": "integer"},
        "window_s": {"type": "integer"},
        "remaining": {"type": "integer"},
        "reset_s": {"type": "number"},
        "exceeded": {"type": "boolean"},
        "degraded": {"type": "boolean", "description": "True if only this worker counts because Redis is unavailable."},
    },
}

_EXAMPLE_REPLY: Json = {
    "valid": True,
    "code": "VALID",
    "reason": None,
    "key_id": "3fGh82kLmQ0a",
    "name": "invoices, nightly export",
    "owner": "billing",
    "environment": "test",
    "scopes": ["cores:read"],
    "expires_at": None,
    "limits": [
        {
            "name": "requests",
            "limit": 600,
            "window_s": 60,
            "remaining": 599,
            "reset_s": 0.1,
            "exceeded": False,
            "degraded": False,
        }
    ],
    "credits": None,
    "staleness_ms": 12,
    "decided_at": "2030-06-01T09:00:00.123Z",
    "request_id": REQUEST_ID,
}

VERIFY_REPLY: Json = {
    "type": "object",
    "required": list(wire.VerifyReply.__struct_fields__),
    "properties": {
        "valid": {"type": "boolean"},
        "code": {"type": "string", "enum": [code.value for code in Code if code is not Code.REVOKED]},
        "reason": {
            "type": ["string", "null"],
            "enum": [*(flaw.value for flaw in SignatureError), None],
            "description": "Of SIGNATURE_INVALID: what is wrong with the signature.",
        },
        "key_id": _maybe(TEXT),
        "name": _maybe(TEXT),
        "owner": _maybe(TEXT),
        "environment": {"type": ["string", "null"], "enum": ["test", "live", None]},
        "scopes": {"type": ["array", "null"], "items": TEXT},
        "expires_at": _maybe(_INSTANT),
        "limits": {"type": "array", "items": _LIMIT},
        "credits": {
            "type": ["object", "null"],
            "description": "Of a key that has credits, once everything before them was in order.",
            "required": ["remaining", "exceeded", "refills_at"],
            "properties": {
                "remaining": {"type": "integer"},
                "exceeded": {"type": "boolean"},
                "refills_at": _maybe(_INSTANT),
            },
        },
        "staleness_ms": {"type": "integer", "description": "How old, at most, the state of keys behind this answer is."},
        "decided_at": _INSTANT,
        "request_id": TEXT,
    },
    "examples": [_EXAMPLE_REPLY],
}

_LIMIT_WISH: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "description": "With quota and window_s a limit that the question brings; without them one of the key's. `burst` wants both.",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,63}$", "maxLength": 64},
        "cost": _COST,
        "quota": {"type": ["integer", "null"], "minimum": 1, "maximum": wire.QUOTA_MAX},
        "window_s": {"type": ["integer", "null"], "minimum": 1, "maximum": wire.WINDOW_S_MAX},
        "burst": {"type": ["integer", "null"], "minimum": 1, "maximum": wire.QUOTA_MAX},
    },
}

VERIFY_REQUEST: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["token"],
    "properties": {
        "token": {"type": "string", "maxLength": wire.TOKEN_CHARS_MAX},
        "scopes": SCOPES,
        "core": _maybe(CORE_NAME),
        "cost": {**_COST, "description": "0 looks only."},
        "address": {
            "type": ["string", "null"],
            "maxLength": wire.ADDRESS_CHARS_MAX,
            "description": "IPv4 or IPv6 address of the client that uses the key. Default: the address of the caller.",
        },
        "method": _maybe(METHOD),
        "request": {"anyOf": [{"$ref": "#/components/schemas/SignedRequest"}, {"type": "null"}]},
        "limits": {"type": "array", "maxItems": wire.LIMITS_MAX, "items": _LIMIT_WISH, "description": "Each name once."},
    },
    "examples": [
        {
            "token": TOKEN,
            "scopes": ["cores:read"],
            "core": "docs",
            "address": "192.0.2.7",
            "method": "GET",
            "limits": [{"name": "requests", "cost": 5}, {"name": "per_file", "quota": 10, "window_s": 60}],
        }
    ],
}

SIGNED_REQUEST: Json = {
    "type": "object",
    "description": "The client's own request, for a key whose requests are signed (RFC 9421).",
    "additionalProperties": False,
    "required": ["method", "url", "headers"],
    "properties": {
        "method": METHOD,
        "url": {
            "type": "string",
            "maxLength": wire.URL_CHARS_MAX,
            "pattern": wire.URL_PATTERN,
            "description": "Absolute, as the client sent it.",
        },
        "headers": {
            "type": "array",
            "maxItems": wire.HEADERS_MAX,
            "items": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": "string", "maxLength": wire.HEADERS_CHARS_MAX},
            },
            "description": "[name, value] as received: Signature-Input, Signature and what it covers; "
            f"{wire.HEADERS_CHARS_MAX} characters together.",
        },
        "body_sha256": {
            "type": ["string", "null"],
            "pattern": "^[A-Za-z0-9+/]{43}=$",
            "maxLength": 44,
            "description": "Base64 of SHA-256 of the body as received; null: no body.",
        },
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

BATCH_REQUEST: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["keys"],
    "properties": {
        "keys": {
            "type": "array",
            "minItems": 1,
            "maxItems": wire.BATCH_MAX,
            "items": {"$ref": "#/components/schemas/VerifyRequest"},
        }
    },
    "examples": [{"keys": [{"token": TOKEN, "cost": 0}, {"token": "nonsense"}]}],
}

BATCH_REPLY: Json = {
    "type": "object",
    "required": ["results"],
    "properties": {"results": {"type": "array", "items": {"$ref": "#/components/schemas/VerifyReply"}}},
    "examples": [{"results": [_EXAMPLE_REPLY]}],
}

SELF_REVOKE: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["token"],
    "properties": {
        "token": {"type": "string", "maxLength": wire.TOKEN_CHARS_MAX},
        "reason": {
            "type": "string",
            "maxLength": selfrevoke.REASON_CHARS_MAX,
            "description": "Printable characters. Stored with the key and in the audit trail.",
        },
    },
    "examples": [{"token": TOKEN, "reason": "pasted into a chat"}],
}

SELF_REVOKED: Json = {
    "type": "object",
    "required": list(selfrevoke.SelfRevocationResponse.__struct_fields__),
    "properties": {"key_id": TEXT, "effective": {"type": "string", "enum": ["everywhere", "within_bound"]}, "request_id": TEXT},
    "examples": [{"key_id": "3fGh82kLmQ0a", "effective": "everywhere", "request_id": REQUEST_ID}],
}

LEASE_REQUEST: Json = {
    "type": "object",
    "additionalProperties": False,
    "description": "Without lease_id: register at url. With it: renew, and move to url when that is there, too.",
    "properties": {
        "url": {
            "type": ["string", "null"],
            "maxLength": 300,
            "description": "Origin at which the gateway reaches the Core: https://host[:port].",
        },
        "ttl_s": {
            "type": ["integer", "null"],
            "minimum": LEASE_S_MIN,
            "maximum": 3600,
            "description": "At most GATEHOUSE_CORE_LEASE_MAX_S of the deployment.",
        },
        "lease_id": _maybe(LEASE_ID),
    },
    "examples": [{"url": "https://docs.example.com", "ttl_s": 60}, {"lease_id": "vQ2rX0m3kT9sLwYbN5cD8eFg", "ttl_s": 60}],
}

LEASE: Json = {
    "type": "object",
    "required": ["name", "url", "lease_id", "expires_at", "heartbeat_s"],
    "properties": {
        "name": TEXT,
        "url": TEXT,
        "lease_id": TEXT,
        "expires_at": _INSTANT,
        "heartbeat_s": {"type": "integer"},
        "core_secret": {
            "type": "string",
            "description": "Once a registration; the gateway sends it with each request to the Core.",
        },
    },
    "examples": [
        {
            "name": "docs",
            "url": "https://docs.example.com",
            "lease_id": "vQ2rX0m3kT9sLwYbN5cD8eFg",
            "expires_at": "2030-06-01T09:01:00.000Z",
            "heartbeat_s": 20,
            "core_secret": "gtk_core_...",
        }
    ],
}

HEALTH: Json = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"const": "ok"}},
    "examples": [{"status": "ok"}],
}

READINESS: Json = {
    "type": "object",
    "required": ["status", "checks"],
    "properties": {
        "status": {"type": "string", "enum": ["ready", "degraded", "unavailable"]},
        "checks": {"type": "object", "additionalProperties": {"enum": ["ok", "degraded", "unavailable"]}},
        "off": {"type": "array", "items": TEXT, "description": "Features that are switched off here."},
    },
    "examples": [{"status": "ready", "checks": {"database": "ok", "keys": "ok", "redis": "ok"}}],
}

SCHEMAS: Json = {
    "Problem": PROBLEM,
    "VerifyRequest": VERIFY_REQUEST,
    "SignedRequest": SIGNED_REQUEST,
    "VerifyReply": VERIFY_REPLY,
    "BatchRequest": BATCH_REQUEST,
    "BatchReply": BATCH_REPLY,
    "SelfRevoke": SELF_REVOKE,
    "SelfRevoked": SELF_REVOKED,
    "LeaseRequest": LEASE_REQUEST,
    "Lease": LEASE,
    "Health": HEALTH,
    "Readiness": READINESS,
}
