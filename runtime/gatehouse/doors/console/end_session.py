"""DELETE /v1/sessions/{session}: signs out; `current` is the session that asks."""

from __future__ import annotations

from fastapi import Request, Response

from gatehouse.core.apikey import key_id
from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.session_cookie import clear_cookie
from gatehouse.errors import NotFound
from gatehouse.flows.principal import Role


async def end_session(session: str, door: Door, caller: Caller, request: Request, response: Response) -> None:
    """End a session: `current` to sign out, or the id of another one of yours. An owner may end anybody's."""
    current = None if request.state.session is None else request.state.session.id
    wanted = current if session == "current" else key_id(session)
    ended = wanted is not None and await door.sessions.end(wanted, caller, anybody=Role.OWNER in request.state.roles)
    if not ended:
        raise NotFound("You have no session with this id")
    if wanted == current:
        clear_cookie(response)
