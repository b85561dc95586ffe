"""DELETE /v1/sessions: signs out everywhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.session_cookie import clear_cookie
from gatehouse.errors import Forbidden
from gatehouse.flows.principal import Role
from gatehouse.wire.session import EndedSessions


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
