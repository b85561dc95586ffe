"""The JSON shapes of console sessions."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from gatehouse.identity.models import Session
from gatehouse.timestamps import rfc3339

_EXAMPLE: JsonDict = {
    "id": "5tRw0aB9xK2m",
    "actor_type": "key",
    "actor_id": "3fGh82kLmQ0a",
    "created_at": "2030-01-01T09:00:00Z",
    "seen_at": "2030-01-01T09:12:00Z",
    "proven_at": "2030-01-01T09:00:00Z",
    "ends_at": "2030-01-01T17:00:00Z",
    "source_address": "192.0.2.7",
    "user_agent": "Mozilla/5.0",
    "current": True,
}


class SessionView(BaseModel):
    """A session. `ends_at`: at the latest; `proven_at`: when its credential was last shown; `current`: the one that asks."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    actor_type: Literal["bootstrap", "key", "person"]
    actor_id: str
    created_at: str
    seen_at: str
    proven_at: str | None
    ends_at: str
    source_address: str
    user_agent: str
    current: bool


class CurrentSession(BaseModel):
    """`csrf_token` goes back in the header X-CSRF-Token of every request of this session that may change something."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session": _EXAMPLE,
                    "csrf_token": "d2hhdGV2ZXItaXQtaXMtYXMtbG9uZy1hcy10aGlz",
                    "roles": ["operator"],
                    "step_up_max_age_s": 300,
                }
            ]
        }
    )

    session: SessionView
    csrf_token: str
    roles: list[str]
    step_up_max_age_s: int


class SessionList(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"sessions": [_EXAMPLE]}]})

    sessions: list[SessionView]


class EndedSessions(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"ended": 2}]})

    ended: int


def session_view(session: Session, *, current: bool) -> SessionView:
    return SessionView(
        id=session.id,
        actor_type=session.actor_type,
        actor_id=session.actor_id,
        created_at=rfc3339(session.created_at),
        seen_at=rfc3339(session.seen_at),
        proven_at=rfc3339(session.proven_at) if session.proven_at else None,
        ends_at=rfc3339(session.ends_at),
        source_address=session.source_address,
        user_agent=session.user_agent,
        current=current,
    )
