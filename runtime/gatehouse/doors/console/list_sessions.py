"""GET /v1/sessions: where the caller is signed in."""

from __future__ import annotations

from fastapi import Request

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.wire.session import SessionList, session_view


async def list_sessions(door: Door, caller: Caller, request: Request) -> SessionList:
    """List your own live sessions, newest first."""
    current = None if request.state.session is None else request.state.session.id
    return SessionList(sessions=[session_view(one, current=one.id == current) for one in await door.sessions.of(caller)])
