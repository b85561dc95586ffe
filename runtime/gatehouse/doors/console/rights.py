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

RIGHTS: dict[str, frozenset[Role]] = {
    "POST /v1/keys": _MAKE,
    "GET /v1/keys": _LOOK,
    "GET /v1/keys/{id}": _LOOK_AT_ONE,
    "GET /v1/keys/{id}/usage": _LOOK_AT_ONE,
    "POST /v1/keys/{id}/revoke": _END,
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
    "GET /v1/cores": _READ,
}


def needed(method: str, path: str) -> frozenset[Role]:
    """The roles that a route takes; `path` is its template."""
    return RIGHTS.get(f"{method} {path}", _OWNER)
