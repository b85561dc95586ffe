"""GET /v1/sessions/current: the session that asks, and the token that its page sends back with changes."""

from __future__ import annotations

from fastapi import Request

from gatehouse.doors.console.caller import Door
from gatehouse.doors.console.session_cookie import cookie_of
from gatehouse.errors import NotFound
from gatehouse.store.ports_session import Session
from gatehouse.wire.session import CurrentSession, session_view


async def show_session(door: Door, request: Request) -> CurrentSession:
    """Show the session of this browser. A page that was loaded anew takes its csrf_token from here."""
    session: Session | None = request.state.session
    cookie = cookie_of(request)
    if session is None or cookie is None:
        raise NotFound("You came with a credential, not with a session; POST /v1/sessions makes one")
    return CurrentSession(
        session=session_view(session, current=True),
        csrf_token=door.sessions.csrf(cookie),
        roles=sorted(role.value for role in request.state.roles),
        step_up_max_age_s=int(door.sessions.rules.step_up_max_age_s),
    )
