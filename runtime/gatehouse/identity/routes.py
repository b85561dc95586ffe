"""POST /v1/sessions: makes a session of a credential that is shown; the browser's old one ends.

GET /v1/sessions: where the caller is signed in.

GET /v1/sessions/current: the session that asks, and the token that its page sends back with changes.

DELETE /v1/sessions/{session}: signs out; `current` is the session that asks.

DELETE /v1/sessions: signs out everywhere.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gatehouse.console.authentication import COOKIE, check_site, clear_cookie, cookie_of, set_cookie
from gatehouse.console.dependencies import Caller, Door
from gatehouse.crypto.token import key_id
from gatehouse.errors import BadRequest, Forbidden, NotFound, Problem
from gatehouse.identity.models import ActorType, Role, Session
from gatehouse.identity.schemas import CurrentSession, EndedSessions, SessionList, session_view


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


async def list_sessions(door: Door, caller: Caller, request: Request) -> SessionList:
    """List your own live sessions, newest first."""
    current = None if request.state.session is None else request.state.session.id
    return SessionList(sessions=[session_view(one, current=one.id == current) for one in await door.sessions.of(caller)])


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


async def end_session(session: str, door: Door, caller: Caller, request: Request, response: Response) -> None:
    """End a session: `current` to sign out, or the id of another one of yours. An owner may end anybody's."""
    current = None if request.state.session is None else request.state.session.id
    wanted = current if session == "current" else key_id(session)
    ended = wanted is not None and await door.sessions.end(wanted, caller, anybody=Role.OWNER in request.state.roles)
    if not ended:
        raise NotFound("You have no session with this id")
    if wanted == current:
        clear_cookie(response)


class EndSessions(BaseModel):
    """Whose sessions end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    everybody: Annotated[bool, Field(description="Those of everybody, for when something went wrong; an owner's act.")] = False


async def end_sessions(
    query: Annotated[EndSessions, Query()], door: Door, caller: Caller, request: Request, response: Response
) -> EndedSessions:
    """End all of your sessions, this one included; as an owner with `everybody=true`, all that there are."""
    if query.everybody and Role.OWNER not in request.state.roles:
        raise Forbidden("The sessions of everybody are ended by an owner alone")
    ended = await door.sessions.end_all(caller, everybody=query.everybody)
    if request.state.session is not None:
        clear_cookie(response)
    return EndedSessions(ended=ended)
