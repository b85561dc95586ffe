"""What endpoints ask for in their signatures: the parts of the door and the one who calls."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from gatehouse.doors.console.parts import Parts, parts_of
from gatehouse.flows.actor import Actor


def actor_of(request: Request) -> Actor:
    """FastAPI dependency: whom AdminRoute let in."""
    actor: Actor = request.state.actor
    return actor


Door = Annotated[Parts, Depends(parts_of)]
Caller = Annotated[Actor, Depends(actor_of)]
