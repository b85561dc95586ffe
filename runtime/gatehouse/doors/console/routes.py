"""The console's API as one table: method, path, who may call it, the endpoint, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatehouse.core.features import SESSIONS, WEBHOOKS
from gatehouse.doors.console.access import Access
from gatehouse.doors.console.create_key import create_key
from gatehouse.doors.console.create_webhook import create_webhook
from gatehouse.doors.console.delete_key import delete_key
from gatehouse.doors.console.delete_webhook import delete_webhook
from gatehouse.doors.console.disable_key import disable_key
from gatehouse.doors.console.enable_key import enable_key
from gatehouse.doors.console.end_grace import end_grace
from gatehouse.doors.console.end_session import end_session
from gatehouse.doors.console.end_sessions import end_sessions
from gatehouse.doors.console.explain_key import explain_key
from gatehouse.doors.console.export_audit import export_audit
from gatehouse.doors.console.list_audit import list_audit
from gatehouse.doors.console.list_checkpoints import list_checkpoints
from gatehouse.doors.console.list_cores import list_cores
from gatehouse.doors.console.list_deliveries import list_deliveries
from gatehouse.doors.console.list_features import list_features
from gatehouse.doors.console.list_keys import list_keys
from gatehouse.doors.console.list_sessions import list_sessions
from gatehouse.doors.console.list_webhooks import list_webhooks
from gatehouse.doors.console.log_level import reset_log_level, set_log_level, show_log_level
from gatehouse.doors.console.pepper_status import pepper_status
from gatehouse.doors.console.purge_key import purge_key
from gatehouse.doors.console.read_usage import read_usage
from gatehouse.doors.console.remove_signing import remove_signing
from gatehouse.doors.console.report import report_github_leaks, report_leaks
from gatehouse.doors.console.restore_key import restore_key
from gatehouse.doors.console.retry_delivery import retry_delivery
from gatehouse.doors.console.revoke_key import revoke_key
from gatehouse.doors.console.rotate_key import rotate_key
from gatehouse.doors.console.set_signing import set_signing
from gatehouse.doors.console.show_key import show_key
from gatehouse.doors.console.show_key_usage import show_key_usage
from gatehouse.doors.console.show_session import show_session
from gatehouse.doors.console.sign_in import sign_in
from gatehouse.doors.console.update_key import update_key
from gatehouse.doors.console.verify_audit import verify_audit


@dataclass(frozen=True, slots=True)
class Row:
    method: str
    path: str
    who: Access
    endpoint: Callable[..., Any]
    tag: str
    status: int
    problems: tuple[int, ...]  # beside those that every route of `who` and of the method can answer (openapi.py)


#: Where the routes of a feature begin; they are not there when it is switched off (core/features.py).
OF_FEATURE = {"/v1/sessions": SESSIONS.name, "/v1/webhooks": WEBHOOKS.name, "/v1/deliveries": WEBHOOKS.name}


def there(row: Row, off: frozenset[str]) -> bool:
    return not any(row.path.startswith(begin) and feature in off for begin, feature in OF_FEATURE.items())


ROUTES = (
    Row("POST", "/v1/keys", Access.ADMIN, create_key, "keys", 201, ()),
    Row("GET", "/v1/keys", Access.ADMIN, list_keys, "keys", 200, ()),
    Row("GET", "/v1/keys/{id}", Access.ADMIN, show_key, "keys", 200, (404,)),
    Row("PATCH", "/v1/keys/{id}", Access.ADMIN, update_key, "keys", 200, (404, 409, 412, 428)),
    Row("DELETE", "/v1/keys/{id}", Access.ADMIN, delete_key, "keys", 200, (404, 409)),
    Row("POST", "/v1/keys/{id}/restore", Access.ADMIN, restore_key, "keys", 200, (404, 409)),
    Row("POST", "/v1/keys/{id}/disable", Access.ADMIN, disable_key, "keys", 200, (404, 409)),
    Row("POST", "/v1/keys/{id}/enable", Access.ADMIN, enable_key, "keys", 200, (404, 409)),
    Row("POST", "/v1/keys/{id}/rotate", Access.ADMIN, rotate_key, "keys", 201, (404, 409)),
    Row("POST", "/v1/keys/{id}/end-grace", Access.ADMIN, end_grace, "keys", 200, (404, 409)),
    Row("POST", "/v1/keys/{id}/revoke", Access.ADMIN, revoke_key, "keys", 200, (404, 409)),
    Row("POST", "/v1/keys/{id}/purge", Access.ADMIN, purge_key, "keys", 200, (404, 409)),
    Row("POST", "/v1/keys/{id}/explain", Access.ADMIN, explain_key, "keys", 200, (404,)),
    Row("PUT", "/v1/keys/{id}/signing", Access.ADMIN, set_signing, "keys", 200, (404, 409)),
    Row("DELETE", "/v1/keys/{id}/signing", Access.ADMIN, remove_signing, "keys", 200, (404, 409)),
    Row("GET", "/v1/pepper", Access.ADMIN, pepper_status, "keys", 200, ()),
    Row("GET", "/v1/audit-events", Access.ADMIN, list_audit, "audit", 200, ()),
    Row("GET", "/v1/audit-export", Access.ADMIN, export_audit, "audit", 200, ()),
    Row("GET", "/v1/audit-checkpoints", Access.ADMIN, list_checkpoints, "audit", 200, ()),
    Row("GET", "/v1/audit-verification", Access.ADMIN, verify_audit, "audit", 200, ()),
    Row("GET", "/v1/usage", Access.ADMIN, read_usage, "usage", 200, ()),
    Row("GET", "/v1/keys/{id}/usage", Access.ADMIN, show_key_usage, "usage", 200, (404,)),
    Row("POST", "/v1/webhooks", Access.ADMIN, create_webhook, "notices", 201, ()),
    Row("GET", "/v1/webhooks", Access.ADMIN, list_webhooks, "notices", 200, ()),
    Row("DELETE", "/v1/webhooks/{webhook}", Access.ADMIN, delete_webhook, "notices", 204, (404,)),
    Row("GET", "/v1/deliveries", Access.ADMIN, list_deliveries, "notices", 200, ()),
    Row("POST", "/v1/deliveries/{notice}/{target}/retry", Access.ADMIN, retry_delivery, "notices", 204, (404,)),
    Row("POST", "/v1/leaks/github", Access.SIGNED, report_github_leaks, "leaks", 200, ()),
    Row("POST", "/v1/leaks", Access.SIGNED, report_leaks, "leaks", 200, ()),
    Row("GET", "/v1/cores", Access.ADMIN, list_cores, "cores", 200, ()),
    Row("GET", "/v1/features", Access.ADMIN, list_features, "operations", 200, ()),
    Row("GET", "/v1/log-level", Access.ADMIN, show_log_level, "operations", 200, ()),
    Row("PUT", "/v1/log-level", Access.ADMIN, set_log_level, "operations", 200, ()),
    Row("DELETE", "/v1/log-level", Access.ADMIN, reset_log_level, "operations", 204, ()),
    Row("POST", "/v1/sessions", Access.ADMIN, sign_in, "sessions", 201, ()),
    Row("GET", "/v1/sessions", Access.ADMIN, list_sessions, "sessions", 200, ()),
    Row("DELETE", "/v1/sessions", Access.ADMIN, end_sessions, "sessions", 200, ()),
    Row("GET", "/v1/sessions/current", Access.ADMIN, show_session, "sessions", 200, (404,)),
    Row("DELETE", "/v1/sessions/{session}", Access.ADMIN, end_session, "sessions", 204, (404,)),
)
