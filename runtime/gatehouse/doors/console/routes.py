"""The console's API as one table: method, path, who may call it, the endpoint, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatehouse.doors.console.access import Access
from gatehouse.doors.console.create_key import create_key
from gatehouse.doors.console.create_webhook import create_webhook
from gatehouse.doors.console.delete_key import delete_key
from gatehouse.doors.console.delete_webhook import delete_webhook
from gatehouse.doors.console.disable_key import disable_key
from gatehouse.doors.console.enable_key import enable_key
from gatehouse.doors.console.end_grace import end_grace
from gatehouse.doors.console.explain_key import explain_key
from gatehouse.doors.console.export_audit import export_audit
from gatehouse.doors.console.list_audit import list_audit
from gatehouse.doors.console.list_checkpoints import list_checkpoints
from gatehouse.doors.console.list_cores import list_cores
from gatehouse.doors.console.list_deliveries import list_deliveries
from gatehouse.doors.console.list_keys import list_keys
from gatehouse.doors.console.list_webhooks import list_webhooks
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
    problems: tuple[int, ...]  # beside those that every route of `who` can answer


ROUTES = (
    Row("POST", "/v1/keys", Access.ADMIN, create_key, "keys", 201, (400, 413)),
    Row("GET", "/v1/keys", Access.ADMIN, list_keys, "keys", 200, (400,)),
    Row("GET", "/v1/keys/{id}", Access.ADMIN, show_key, "keys", 200, (404,)),
    Row("PATCH", "/v1/keys/{id}", Access.ADMIN, update_key, "keys", 200, (400, 404, 409, 412, 413, 428)),
    Row("DELETE", "/v1/keys/{id}", Access.ADMIN, delete_key, "keys", 200, (400, 404, 409, 413)),
    Row("POST", "/v1/keys/{id}/restore", Access.ADMIN, restore_key, "keys", 200, (400, 404, 409, 413)),
    Row("POST", "/v1/keys/{id}/disable", Access.ADMIN, disable_key, "keys", 200, (400, 404, 409, 413)),
    Row("POST", "/v1/keys/{id}/enable", Access.ADMIN, enable_key, "keys", 200, (400, 404, 409, 413)),
    Row("POST", "/v1/keys/{id}/rotate", Access.ADMIN, rotate_key, "keys", 201, (400, 404, 409, 413)),
    Row("POST", "/v1/keys/{id}/end-grace", Access.ADMIN, end_grace, "keys", 200, (400, 404, 409, 413)),
    Row("POST", "/v1/keys/{id}/revoke", Access.ADMIN, revoke_key, "keys", 200, (400, 404, 409, 413)),
    Row("POST", "/v1/keys/{id}/purge", Access.ADMIN, purge_key, "keys", 200, (400, 404, 409, 413)),
    Row("POST", "/v1/keys/{id}/explain", Access.ADMIN, explain_key, "keys", 200, (400, 404, 413)),
    Row("PUT", "/v1/keys/{id}/signing", Access.ADMIN, set_signing, "keys", 200, (400, 404, 409, 413)),
    Row("DELETE", "/v1/keys/{id}/signing", Access.ADMIN, remove_signing, "keys", 200, (400, 404, 409, 413)),
    Row("GET", "/v1/pepper", Access.ADMIN, pepper_status, "keys", 200, ()),
    Row("GET", "/v1/audit-events", Access.ADMIN, list_audit, "audit", 200, (400,)),
    Row("GET", "/v1/audit-export", Access.ADMIN, export_audit, "audit", 200, (400,)),
    Row("GET", "/v1/audit-checkpoints", Access.ADMIN, list_checkpoints, "audit", 200, (400,)),
    Row("GET", "/v1/audit-verification", Access.ADMIN, verify_audit, "audit", 200, ()),
    Row("GET", "/v1/usage", Access.ADMIN, read_usage, "usage", 200, (400,)),
    Row("GET", "/v1/keys/{id}/usage", Access.ADMIN, show_key_usage, "usage", 200, (404,)),
    Row("POST", "/v1/webhooks", Access.ADMIN, create_webhook, "notices", 201, (400, 413)),
    Row("GET", "/v1/webhooks", Access.ADMIN, list_webhooks, "notices", 200, ()),
    Row("DELETE", "/v1/webhooks/{webhook}", Access.ADMIN, delete_webhook, "notices", 204, (404,)),
    Row("GET", "/v1/deliveries", Access.ADMIN, list_deliveries, "notices", 200, (400,)),
    Row("POST", "/v1/deliveries/{notice}/{target}/retry", Access.ADMIN, retry_delivery, "notices", 204, (404,)),
    Row("POST", "/v1/leaks/github", Access.SIGNED, report_github_leaks, "leaks", 200, (400, 413)),
    Row("POST", "/v1/leaks", Access.SIGNED, report_leaks, "leaks", 200, (400, 413)),
    Row("GET", "/v1/cores", Access.ADMIN, list_cores, "cores", 200, (400,)),
)
