"""Which role may call which route: one table. A route that is missing here is for owners alone, and fails a test."""

from __future__ import annotations

from gatehouse.flows.principal import Role

_OWNER = frozenset({Role.OWNER})
_OPERATE = _OWNER | {Role.OPERATOR}
_MAKE = _OPERATE | {Role.ISSUER, Role.SERVICE}
_END = _OPERATE | {Role.SERVICE}
_LOOK = _OPERATE | {Role.ISSUER, Role.AUDITOR}
_LOOK_AT_ONE = _LOOK | {Role.SERVICE}
_READ = _OPERATE | {Role.AUDITOR}
#: No role: whoever signs the body with a key that is pinned may report.
_REPORTER: frozenset[Role] = frozenset()

RIGHTS: dict[str, frozenset[Role]] = {
    "POST /v1/keys": _MAKE,
    "GET /v1/keys": _LOOK,
    "GET /v1/keys/{id}": _LOOK_AT_ONE,
    "GET /v1/keys/{id}/usage": _LOOK_AT_ONE,
    "PATCH /v1/keys/{id}": _OPERATE,
    "DELETE /v1/keys/{id}": _OPERATE,
    "POST /v1/keys/{id}/restore": _OPERATE,
    "POST /v1/keys/{id}/disable": _END,
    "POST /v1/keys/{id}/enable": _OPERATE,
    "POST /v1/keys/{id}/rotate": _OPERATE | {Role.SERVICE},
    "POST /v1/keys/{id}/end-grace": _END,
    "POST /v1/keys/{id}/revoke": _END,
    "POST /v1/keys/{id}/purge": _OWNER,
    "POST /v1/keys/{id}/explain": _LOOK_AT_ONE,
    "PUT /v1/keys/{id}/signing": _OPERATE,
    "DELETE /v1/keys/{id}/signing": _OPERATE,
    "GET /v1/pepper": _READ,
    "GET /v1/usage": _LOOK,
    "GET /v1/audit-events": _READ,
    "GET /v1/audit-export": _READ,
    "GET /v1/audit-checkpoints": _READ,
    "GET /v1/audit-verification": _READ,
    "POST /v1/webhooks": _OPERATE,
    "GET /v1/webhooks": _READ,
    "DELETE /v1/webhooks/{webhook}": _OPERATE,
    "GET /v1/deliveries": _READ,
    "POST /v1/deliveries/{notice}/{target}/retry": _OPERATE,
    "POST /v1/leaks/github": _REPORTER,
    "POST /v1/leaks": _REPORTER,
    "GET /v1/cores": _READ,
}

#: They change nothing, though their question has a body: whoever may look may ask about a key that manages, too.
QUESTIONS = frozenset({"POST /v1/keys/{id}/explain"})


def changes(method: str, path: str) -> bool:
    """True for a route that may change something; `path` is its template."""
    return method not in {"GET", "HEAD"} and f"{method} {path}" not in QUESTIONS


def needed(method: str, path: str) -> frozenset[Role]:
    """The roles that a route takes; `path` is its template."""
    return RIGHTS.get(f"{method} {path}", _OWNER)
