"""Which acts want the credential shown again by whoever comes with a session, however good the session is.

A session that was left open, or stolen, can then do everyday work for a while and nothing that cannot be undone. Who sends the
credential with each request shows it each time, and is asked for nothing more.
Source: OWASP ASVS 5.0, 7.5.3 (sensitive operations); RFC 9470 (the challenge).
"""

from __future__ import annotations

from enum import StrEnum

from gatehouse.errors import StepUpRequired
from gatehouse.flows.session import Sessions
from gatehouse.store.ports_session import Session


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
