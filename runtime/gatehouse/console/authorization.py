"""Which role may call which route: one table. A route that is missing here is for owners alone, and fails a test.

Which acts want the credential shown again by whoever comes with a session, however good the session is.

A session that was left open, or stolen, can then do everyday work for a while and nothing that cannot be undone. Who sends the
credential with each request shows it each time, and is asked for nothing more.
Source: OWASP ASVS 5.0, 7.5.3 (sensitive operations); RFC 9470 (the challenge).
"""

from __future__ import annotations

from enum import StrEnum

from gatehouse.errors import StepUpRequired
from gatehouse.identity.models import Role, Session
from gatehouse.identity.service import Sessions

_OWNER = frozenset({Role.OWNER})


_OPERATE = _OWNER | {Role.OPERATOR}


_MAKE = _OPERATE | {Role.ISSUER, Role.SERVICE}


_END = _OPERATE | {Role.SERVICE}


_LOOK = _OPERATE | {Role.ISSUER, Role.AUDITOR}


_LOOK_AT_ONE = _LOOK | {Role.SERVICE}


_READ = _OPERATE | {Role.AUDITOR}


_ANY = frozenset(Role)


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
    "GET /v1/features": _READ,
    "GET /v1/log-level": _READ,
    "PUT /v1/log-level": _OPERATE,
    "DELETE /v1/log-level": _OPERATE,
    "POST /v1/sessions": _ANY,
    "GET /v1/sessions": _ANY,
    "DELETE /v1/sessions": _ANY,
    "GET /v1/sessions/current": _ANY,
    "DELETE /v1/sessions/{session}": _ANY,
}


#: They change nothing, though their question has a body: whoever may look may ask about a key that manages, too.
QUESTIONS = frozenset({"POST /v1/keys/{id}/explain"})


#: What everybody who may come in does with their own sessions.
OWN = frozenset({"POST /v1/sessions", "DELETE /v1/sessions", "DELETE /v1/sessions/{session}"})


def changes(method: str, path: str) -> bool:
    """True for a route that may change something; `path` is its template."""
    return method not in {"GET", "HEAD"} and f"{method} {path}" not in QUESTIONS


def needed(method: str, path: str) -> frozenset[Role]:
    """The roles that a route takes; `path` is its template."""
    return RIGHTS.get(f"{method} {path}", _OWNER)


class StepUp(StrEnum):
    NEVER = "never"
    ALWAYS = "always"
    MANAGING = "managing"  # when it is about a key that manages, or makes one: roles change hands


#: Every route that may change something. One that is missing here counts as ALWAYS, and fails a test.
STEP_UP: dict[str, StepUp] = {
    "POST /v1/keys": StepUp.MANAGING,
    "PATCH /v1/keys/{id}": StepUp.MANAGING,
    "DELETE /v1/keys/{id}": StepUp.ALWAYS,
    "POST /v1/keys/{id}/restore": StepUp.MANAGING,
    "POST /v1/keys/{id}/disable": StepUp.MANAGING,
    "POST /v1/keys/{id}/enable": StepUp.MANAGING,
    "POST /v1/keys/{id}/rotate": StepUp.MANAGING,
    "POST /v1/keys/{id}/end-grace": StepUp.MANAGING,
    "POST /v1/keys/{id}/revoke": StepUp.MANAGING,
    "POST /v1/keys/{id}/purge": StepUp.ALWAYS,
    "PUT /v1/keys/{id}/signing": StepUp.MANAGING,
    "DELETE /v1/keys/{id}/signing": StepUp.ALWAYS,  # the key would be believed without a signature again
    "POST /v1/webhooks": StepUp.ALWAYS,  # its secret and all notices go to whoever is named
    "DELETE /v1/webhooks/{webhook}": StepUp.ALWAYS,
    "POST /v1/deliveries/{notice}/{target}/retry": StepUp.NEVER,
    "PUT /v1/log-level": StepUp.ALWAYS,  # `error` would leave no trace of requests
    "DELETE /v1/log-level": StepUp.NEVER,
    "POST /v1/sessions": StepUp.NEVER,  # showing the credential is what it is
    "POST /v1/leaks/github": StepUp.NEVER,  # by signature, never by a session
    "POST /v1/leaks": StepUp.NEVER,
    # Ending sessions is what somebody does who fears for them: it must not be made hard.
    "DELETE /v1/sessions": StepUp.NEVER,
    "DELETE /v1/sessions/{session}": StepUp.NEVER,
}


def check_proof(sessions: Sessions, session: Session | None, when: StepUp, *, managing: bool) -> None:
    """Raises StepUpRequired. `session` None: the credential itself was sent. `managing`: it is about a key that manages."""
    wanted = when is StepUp.ALWAYS or (when is StepUp.MANAGING and managing)
    if session is None or not wanted or sessions.fresh(session):
        return
    minutes = max(1, round(sessions.rules.step_up_max_age_s / 60))
    raise StepUpRequired(
        f"This wants your credential shown within the last {minutes} min; sign in again with POST /v1/sessions and repeat it"
    )
