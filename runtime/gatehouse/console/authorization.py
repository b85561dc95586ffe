"""Authorization that depends on the key that a request concerns. Roles and step-up rules stand in the endpoint declarations.

A key that can manage keys is created, changed and ended by owners alone; otherwise a lesser role could widen itself. A browser
session must have shown its credential recently before a sensitive operation, so that an open or stolen session can do only
everyday work. Sources: OWASP ASVS 5.0, 7.5.3 (sensitive operations); RFC 9470 (the challenge).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gatehouse.console.dependencies import Request
from gatehouse.crypto.token import key_id
from gatehouse.errors import StepUpRequired
from gatehouse.http.endpoint import Endpoint, StepUp
from gatehouse.identity.models import Role, check_reach, manages
from gatehouse.keys.models import granted


async def check_target(endpoint: Endpoint, request: Request) -> None:
    """Check the key that the path names. Raises Forbidden, StepUpRequired, Unavailable."""
    caller = request.authenticated
    if not endpoint.changes_state or (Role.OWNER in caller.roles and caller.session is None):
        return
    known = key_id(request.http.path_params.get("id", ""))
    target = None if known is None else await request.dependencies.keys.get(known)
    scopes = () if target is None else target.scopes
    check_reach(caller.roles, scopes)
    _check_step_up(endpoint, request, managing=manages(scopes))


def check_scopes(endpoint: Endpoint, request: Request, content: object) -> None:
    """Check the scopes that a body grants, at any depth and whatever the endpoint. Raises Forbidden, StepUpRequired."""
    if endpoint.changes_state and request.content:
        scopes = list(_scopes(content))
        check_reach(request.authenticated.roles, scopes)
        _check_step_up(endpoint, request, managing=manages(scopes))


def _check_step_up(endpoint: Endpoint, request: Request, *, managing: bool) -> None:
    sessions, session = request.dependencies.sessions, request.authenticated.session
    required = endpoint.step_up is StepUp.ALWAYS or (endpoint.step_up is StepUp.MANAGING and managing)
    if session is None or not required or sessions.fresh(session):
        return
    minutes = max(1, round(sessions.rules.step_up_max_age_s / 60))
    raise StepUpRequired(
        f"This operation requires a sign-in within the last {minutes} min. Sign in again with POST /v1/sessions, then retry."
    )


def _scopes(value: Any) -> Iterator[str]:
    """Every scope in a JSON value: of fields `scope` and `scopes`, and granted by roles in fields `role` and `roles`."""
    if isinstance(value, list):
        for item in value:
            yield from _scopes(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in {"scope", "scopes"}:
                yield from _strings(item)
            elif name in {"role", "roles"}:
                yield from granted((), tuple(_strings(item)))
            else:
                yield from _scopes(item)


def _strings(item: Any) -> Iterator[str]:
    return (text for text in (item if isinstance(item, list) else [item]) if isinstance(text, str))
