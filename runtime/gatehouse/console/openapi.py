"""What /openapi.json says beyond the models: the security scheme and the problem documents that each route may answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gatehouse.audit.schemas import EXAMPLE_EVENT
from gatehouse.console.authentication import COOKIE, Access
from gatehouse.console.idempotency import HEADER, REPLAYED, takes_key
from gatehouse.console.routes import EndpointRow
from gatehouse.http.asgi import PROBLEM_TYPE
from gatehouse.leaks import schemas as leak

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
    415: ("unsupported_media_type", "The body is not JSON in UTF-8; `errors` says what to send."),
    422: ("idempotency_key_reused", "This Idempotency-Key was sent with another request before; take a new one."),
    428: ("precondition_required", "If-Match is missing; `errors` says what to send."),
    429: ("rate_limited", "Too many wrong credentials from this address; `Retry-After` says how many seconds to wait."),
    500: ("internal", "Our fault; quote the request id."),
    503: ("unavailable", "A dependency is away; try again after `Retry-After` seconds."),
}


_EVERY = {
    Access.PUBLIC: (500,),
    Access.ADMIN: (400, 401, 403, 429, 500, 503),
    Access.SIGNED: (400, 401, 404, 413, 429, 500, 503),
}


#: Every method that may have a body; one that comes with DELETE is read, too.
_OF_BODIES = (413, 415)


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


#: What stands in a path -> what it is, and an example.
_PLACES = {
    "id": ("Of a key.", "3fGh82kLmQ0a"),
    "webhook": ("Id of a webhook.", "8kLm20pQxT4v"),
    "notice": ("Id of a notice.", "msg_0199f3a8c0d1b6e5f4a39281"),
    "target": ("Id of the webhook, or topic.", "8kLm20pQxT4v"),
    "session": ("Id of a session, or `current`.", "5tRw0aB9xK2m"),
}


_EXPORTED = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One row a line, oldest first, in the form of AuditEventView."},
        "example": json.dumps(EXAMPLE_EVENT) + "\n",
    },
    "text/csv": {
        "schema": {"type": "string", "description": "A line of names, then one row a line; cells are safe in spreadsheets."},
        "example": "seq,occurred_at,actor_type\n1204,2030-06-01T09:00:00.123456Z,bootstrap\n",
    },
}


_OF_A_KEY = (
    "show_key",
    "show_key_usage",
    "update_key",
    "rotate_key",
    "end_grace",
    "disable_key",
    "enable_key",
    "set_signing",
    "remove_signing",
    "explain_key",
    "revoke_key",
    "delete_key",
    "restore_key",
    "purge_key",
)


#: (operation, status) -> which parameter takes what of the answer, and in which operations.
_LINKS: dict[tuple[str, str], tuple[str, str, tuple[str, ...]]] = {
    ("create_key", "201"): ("id", "/key/id", _OF_A_KEY),
    ("rotate_key", "201"): ("id", "/key/id", _OF_A_KEY),
    ("delete_key", "200"): ("id", "/key/id", ("restore_key", "purge_key", "show_key")),
    ("revoke_key", "200"): ("id", "/key/id", ("purge_key", "show_key")),
    ("list_keys", "200"): ("id", "/keys/0/id", ("show_key",)),
    ("create_webhook", "201"): ("webhook", "/webhook/id", ("delete_webhook",)),
    ("sign_in", "201"): ("session", "/session/id", ("end_session",)),
}


def problem_responses(row: EndpointRow) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: one problem a status, with an example."""
    statuses = {*row.problems, *_EVERY[row.who]}
    if row.who is Access.ADMIN and row.method != "GET":
        statuses.update(_OF_BODIES)
    if row.who is Access.ADMIN and takes_key(row.method, row.path):
        statuses.update((409, 422))
    return {status: _response(status) for status in sorted(statuses)}


def complete(document: dict[str, Any], rows: Iterable[EndpointRow]) -> dict[str, Any]:
    """Adds the shared schema, and what FastAPI cannot know or gets wrong.

    It takes the nulls out of examples, which then lack members, and adds a 422 that this door never answers with its schema.
    """
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, examples in _examples(rows).items():
        if name in schemas:
            schemas[name]["examples"] = examples
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
            if operation["operationId"] == "export_audit":
                operation["responses"]["200"]["content"] = _EXPORTED
            _place(operation)
            _link(operation)
            created = operation["responses"].get("201")
            if created is not None:
                where = {"schema": {"type": "string"}, "description": "Path of what was made."}
                created.setdefault("headers", {})["Location"] = where
    return document


def _examples(rows: Iterable[EndpointRow]) -> dict[str, Any]:
    """The examples of every model that an endpoint takes or answers, as they were written."""
    hints = [hint for row in rows for hint in get_type_hints(row.endpoint).values()]
    named = {one for hint in hints for one in (hint, *get_args(hint)) if isinstance(one, type) and issubclass(one, BaseModel)}
    _, made = models_json_schema([(one, "serialization") for one in sorted(named, key=lambda one: one.__name__)])
    return {name: schema["examples"] for name, schema in made["$defs"].items() if "examples" in schema}


def _place(operation: dict[str, Any]) -> None:
    """What the parts of a path are. An id of another form is no error of form: there is nothing with it (404)."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["description"], parameter["example"] = _PLACES[parameter["name"]]
            parameter["schema"] |= {"minLength": 1, "maxLength": 100}


def _link(operation: dict[str, Any]) -> None:
    """From what an answer made to what can be done with it."""
    for status, response in operation["responses"].items():
        links = _LINKS.get((operation["operationId"], status))
        if links is not None:
            parameter, pointer, targets = links
            response["links"] = {target: _to(target, parameter, pointer) for target in targets}


def _to(target: str, parameter: str, pointer: str) -> dict[str, Any]:
    parameters = {parameter: f"$response.body#{pointer}"}
    if target == "update_key":
        parameters["if-match"] = "$response.header.ETag"
    return {"operationId": target, "parameters": parameters}


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
