"""What /openapi.json says beyond the models: the security scheme and the problem documents that each route may answer."""

from __future__ import annotations

from typing import Any

from gatehouse.doors.asgi import PROBLEM_TYPE
from gatehouse.doors.console.access import Access
from gatehouse.doors.console.idempotent import HEADER, REPLAYED, takes_key
from gatehouse.doors.console.routes import Row
from gatehouse.doors.console.session_cookie import COOKIE
from gatehouse.wire import leak

_TEXTS = {
    400: ("bad_request", "The request is malformed; `errors` says where and what to send instead."),
    401: ("unauthorized", "No valid bearer token. `WWW-Authenticate` says how to send one."),
    403: ("forbidden", "The credential has no role that this takes, or the key that is meant is an owner's matter."),
    404: ("not_found", "There is nothing with this id."),
    409: (
        "conflict",
        "The state of the key does not allow it, or the first request with this Idempotency-Key is still running"
        " (`request_in_progress`, then with `Retry-After`); `detail` says what to do.",
    ),
    412: ("precondition_failed", "The key has changed since it was read; read it again."),
    413: ("body_too_large", "The body is larger than this deployment reads."),
    422: ("idempotency_key_reused", "This Idempotency-Key was sent with another request before; take a new one."),
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

SESSION = {
    "type": "apiKey",
    "in": "cookie",
    "name": COOKIE,
    "description": "The cookie that POST /v1/sessions sets. A request that may change something sends X-CSRF-Token besides, and "
    "where x-step-up says so, the credential must have been shown lately: otherwise it is a 401 with the code step_up_required.",
}
SIGNED = {
    "type": "apiKey",
    "in": "header",
    "name": "webhook-signature",
    "description": "Standard Webhooks, with webhook-id and webhook-timestamp; GitHub sends its own two headers instead.",
}


def problem_responses(row: Row) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: one problem a status, with an example."""
    repeatable = {400, 409, 422} if row.who is Access.ADMIN and takes_key(row.method, row.path) else set()
    return {status: _response(status) for status in sorted({*row.problems, *_EVERY[row.who], *repeatable})}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Adds the shared schema and drops what FastAPI adds for the 422 that this door never answers."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    components["securitySchemes"] = {"admin": SECURITY, "session": SESSION, "signed": SIGNED}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if takes_key(method.upper(), path) and "leaks" not in operation.get("tags", ()):
                _repeatable(operation)
            else:
                operation["responses"].pop("422", None)
            if "leaks" in operation.get("tags", ()):
                leak.describe(operation)
            created = operation["responses"].get("201")
            if created is not None:
                where = {"schema": {"type": "string"}, "description": "Path of what was made."}
                created.setdefault("headers", {})["Location"] = where
    return document


def _repeatable(operation: dict[str, Any]) -> None:
    operation.setdefault("parameters", []).append(
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "description": "A text of your own in double quotes, new for each request, such as a UUID: a repeat within a day is"
            f" answered as the first was, token and all, with `{REPLAYED}: true`, and does nothing again.",
            "schema": {"type": "string", "pattern": '^"([ !#-\\[\\]-~]|\\\\["\\\\])+"$', "maxLength": 257},
            "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
        }
    )
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            seen = {"schema": {"const": "true"}, "description": "Only on an answer that is given again."}
            response.setdefault("headers", {})[REPLAYED] = seen


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
