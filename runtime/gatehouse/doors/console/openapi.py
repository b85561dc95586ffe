"""What /openapi.json says beyond the models: the security scheme and the problem documents that each route may answer."""

from __future__ import annotations

from typing import Any

from gatehouse.doors.asgi import PROBLEM_TYPE
from gatehouse.doors.console.access import Access
from gatehouse.doors.console.routes import Row
from gatehouse.wire import leak

_TEXTS = {
    400: ("bad_request", "The request is malformed; `errors` says where and what to send instead."),
    401: ("unauthorized", "No valid bearer token. `WWW-Authenticate` says how to send one."),
    403: ("forbidden", "The credential has no role that this takes, or the key that is meant is an owner's matter."),
    404: ("not_found", "There is nothing with this id."),
    409: ("conflict", "The state of the key does not allow it; `detail` says what does."),
    412: ("precondition_failed", "The key has changed since it was read; read it again."),
    413: ("body_too_large", "The body is larger than this deployment reads."),
    428: ("precondition_required", "If-Match is missing; `errors` says what to send."),
    429: ("rate_limited", "Too many wrong credentials from this address; `Retry-After` says how many seconds to wait."),
    500: ("internal", "Our fault; quote the request id."),
    503: ("unavailable", "A dependency is away; try again after `Retry-After` seconds."),
}
_EVERY = {Access.PUBLIC: (500,), Access.ADMIN: (401, 403, 429, 500, 503), Access.SIGNED: (401, 404, 429, 500, 503)}

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable, for programs."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["location", "message"],
                "properties": {
                    "location": {"type": "string", "examples": ["body.limits[0].quota"]},
                    "message": {"type": "string"},
                    "fix": {"type": "string"},
                },
            },
        },
    },
}
SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "description": "The bootstrap token, or a key with the scope `admin` (an owner) or a role, such as `role:operator`.",
}

SIGNED = {
    "type": "apiKey",
    "in": "header",
    "name": "webhook-signature",
    "description": "Standard Webhooks, with webhook-id and webhook-timestamp; GitHub sends its own two headers instead.",
}


def problem_responses(row: Row) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: one problem a status, with an example."""
    return {status: _response(status) for status in sorted({*row.problems, *_EVERY[row.who]})}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Adds the shared schema and drops what FastAPI adds for the 422 that this door never answers."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    components["securitySchemes"] = {"admin": SECURITY, "signed": SIGNED}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            if "leaks" in operation.get("tags", ()):
                leak.describe(operation)
            created = operation["responses"].get("201")
            if created is not None:
                created["headers"] = {"Location": {"schema": {"type": "string"}, "description": "Path of the new key."}}
    return document


def _response(status: int) -> dict[str, Any]:
    code, text = _TEXTS[status]
    example = {
        "type": PROBLEM_TYPE + code,
        "title": text.partition(".")[0],
        "status": status,
        "detail": text,
        "code": code,
        "request_id": "req_0199f3a8c0d1b6e5f4a3928170",
    }
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": text, "content": {"application/problem+json": content}}
