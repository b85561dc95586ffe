"""The console's API as one table: method, path, who may call it, the endpoint, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatehouse.audit.routes import export_audit, list_audit, list_checkpoints, verify_audit
from gatehouse.console.authentication import Access
from gatehouse.cores.routes import list_cores
from gatehouse.identity.routes import end_session, end_sessions, list_sessions, show_session, sign_in
from gatehouse.keys.routes import (
    create_key,
    delete_key,
    disable_key,
    enable_key,
    end_grace,
    explain_key,
    list_keys,
    pepper_status,
    purge_key,
    remove_signing,
    restore_key,
    revoke_key,
    rotate_key,
    set_signing,
    show_key,
    update_key,
)
from gatehouse.leaks.routes import report_github_leaks, report_leaks
from gatehouse.notifications.routes import create_webhook, delete_webhook, list_deliveries, list_webhooks, retry_delivery
from gatehouse.operations.features import SESSIONS, WEBHOOKS
from gatehouse.operations.routes import list_features, reset_log_level, set_log_level, show_log_level
from gatehouse.usage.routes import read_usage, show_key_usage


@dataclass(frozen=True, slots=True)
class EndpointRow:
    method: str
    path: str
    who: Access
    endpoint: Callable[..., Any]
    tag: str
    status: int
    problems: tuple[int, ...]  # beside those that every route of `who` and of the method can answer (openapi.py)


#: Where the routes of a feature begin; they are not there when it is switched off (core/features.py).
OF_FEATURE = {"/v1/sessions": SESSIONS.name, "/v1/webhooks": WEBHOOKS.name, "/v1/deliveries": WEBHOOKS.name}


def there(row: EndpointRow, off: frozenset[str]) -> bool:
    return not any(row.path.startswith(begin) and feature in off for begin, feature in OF_FEATURE.items())


ROUTES = (
    EndpointRow("POST", "/v1/keys", Access.ADMIN, create_key, "keys", 201, ()),
    EndpointRow("GET", "/v1/keys", Access.ADMIN, list_keys, "keys", 200, ()),
    EndpointRow("GET", "/v1/keys/{id}", Access.ADMIN, show_key, "keys", 200, (404,)),
    EndpointRow("PATCH", "/v1/keys/{id}", Access.ADMIN, update_key, "keys", 200, (404, 409, 412, 428)),
    EndpointRow("DELETE", "/v1/keys/{id}", Access.ADMIN, delete_key, "keys", 200, (404, 409)),
    EndpointRow("POST", "/v1/keys/{id}/restore", Access.ADMIN, restore_key, "keys", 200, (404, 409)),
    EndpointRow("POST", "/v1/keys/{id}/disable", Access.ADMIN, disable_key, "keys", 200, (404, 409)),
    EndpointRow("POST", "/v1/keys/{id}/enable", Access.ADMIN, enable_key, "keys", 200, (404, 409)),
    EndpointRow("POST", "/v1/keys/{id}/rotate", Access.ADMIN, rotate_key, "keys", 201, (404, 409)),
    EndpointRow("POST", "/v1/keys/{id}/end-grace", Access.ADMIN, end_grace, "keys", 200, (404, 409)),
    EndpointRow("POST", "/v1/keys/{id}/revoke", Access.ADMIN, revoke_key, "keys", 200, (404, 409)),
    EndpointRow("POST", "/v1/keys/{id}/purge", Access.ADMIN, purge_key, "keys", 200, (404, 409)),
    EndpointRow("POST", "/v1/keys/{id}/explain", Access.ADMIN, explain_key, "keys", 200, (404,)),
    EndpointRow("PUT", "/v1/keys/{id}/signing", Access.ADMIN, set_signing, "keys", 200, (404, 409)),
    EndpointRow("DELETE", "/v1/keys/{id}/signing", Access.ADMIN, remove_signing, "keys", 200, (404, 409)),
    EndpointRow("GET", "/v1/pepper", Access.ADMIN, pepper_status, "keys", 200, ()),
    EndpointRow("GET", "/v1/audit-events", Access.ADMIN, list_audit, "audit", 200, ()),
    EndpointRow("GET", "/v1/audit-export", Access.ADMIN, export_audit, "audit", 200, ()),
    EndpointRow("GET", "/v1/audit-checkpoints", Access.ADMIN, list_checkpoints, "audit", 200, ()),
    EndpointRow("GET", "/v1/audit-verification", Access.ADMIN, verify_audit, "audit", 200, ()),
    EndpointRow("GET", "/v1/usage", Access.ADMIN, read_usage, "usage", 200, ()),
    EndpointRow("GET", "/v1/keys/{id}/usage", Access.ADMIN, show_key_usage, "usage", 200, (404,)),
    EndpointRow("POST", "/v1/webhooks", Access.ADMIN, create_webhook, "notices", 201, ()),
    EndpointRow("GET", "/v1/webhooks", Access.ADMIN, list_webhooks, "notices", 200, ()),
    EndpointRow("DELETE", "/v1/webhooks/{webhook}", Access.ADMIN, delete_webhook, "notices", 204, (404,)),
    EndpointRow("GET", "/v1/deliveries", Access.ADMIN, list_deliveries, "notices", 200, ()),
    EndpointRow("POST", "/v1/deliveries/{notice}/{target}/retry", Access.ADMIN, retry_delivery, "notices", 204, (404,)),
    EndpointRow("POST", "/v1/leaks/github", Access.SIGNED, report_github_leaks, "leaks", 200, ()),
    EndpointRow("POST", "/v1/leaks", Access.SIGNED, report_leaks, "leaks", 200, ()),
    EndpointRow("GET", "/v1/cores", Access.ADMIN, list_cores, "cores", 200, ()),
    EndpointRow("GET", "/v1/features", Access.ADMIN, list_features, "operations", 200, ()),
    EndpointRow("GET", "/v1/log-level", Access.ADMIN, show_log_level, "operations", 200, ()),
    EndpointRow("PUT", "/v1/log-level", Access.ADMIN, set_log_level, "operations", 200, ()),
    EndpointRow("DELETE", "/v1/log-level", Access.ADMIN, reset_log_level, "operations", 204, ()),
    EndpointRow("POST", "/v1/sessions", Access.ADMIN, sign_in, "sessions", 201, ()),
    EndpointRow("GET", "/v1/sessions", Access.ADMIN, list_sessions, "sessions", 200, ()),
    EndpointRow("DELETE", "/v1/sessions", Access.ADMIN, end_sessions, "sessions", 200, ()),
    EndpointRow("GET", "/v1/sessions/current", Access.ADMIN, show_session, "sessions", 200, (404,)),
    EndpointRow("DELETE", "/v1/sessions/{session}", Access.ADMIN, end_session, "sessions", 204, (404,)),
)
