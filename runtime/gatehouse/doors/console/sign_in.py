"""POST /v1/sessions: makes a session of a credential that is shown; the browser's old one ends."""

from __future__ import annotations

from fastapi import Request, Response

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.session_cookie import COOKIE, check_site, set_cookie
from gatehouse.errors import BadRequest, Problem
from gatehouse.store.ports_session import ActorType
from gatehouse.wire.session import CurrentSession, session_view


async def sign_in(door: Door, caller: Caller, request: Request, response: Response) -> CurrentSession:
    """Sign in, or show the credential again: send it as Authorization: Bearer. The cookie is new each time."""
    if request.state.session is not None or caller.type == "system":
        problem = Problem("header.authorization", "is missing", "send Authorization: Bearer <admin key or JWT>")
        raise BadRequest("A session begins with a credential", errors=(problem,))
    if "sec-fetch-site" in request.headers or "origin" in request.headers:
        check_site(request, door)
    held = request.cookies.get(COOKIE)
    kind: ActorType = caller.type
    begun = await door.sessions.begin(
        caller,
        request.state.roles,
        kind=kind,
        proven_at=request.state.proven_at,
        bond=door.sessions.bond(door.bootstrap_token or "") if kind == "bootstrap" else b"",
        replaces=await door.sessions.find(held) if held else None,
        user_agent=request.headers.get("user-agent", ""),
    )
    rules = door.sessions.rules
    set_cookie(response, begun.cookie, max_age_s=int(rules.max_s))
    response.headers["Location"] = "/v1/sessions/current"
    return CurrentSession(
        session=session_view(begun.session, current=True),
        csrf_token=begun.csrf,
        roles=sorted(role.value for role in request.state.roles),
        step_up_max_age_s=int(rules.step_up_max_age_s),
    )
