"""Request and response shapes of Cores: the listing of the console and the registration at the gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from gatehouse.cores.models import CoreRecord
from gatehouse.http.fields import Cursor, Environment, Instant, NextCursor
from gatehouse.timestamps import rfc3339


class ListCores(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of a page of Cores."""

    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=200, description="Maximum number of Cores.")] = 50


class CoreView(msgspec.Struct, frozen=True, kw_only=True):
    """A registered Core."""

    example: ClassVar = {
        "name": "docs",
        "url": "https://docs.example.com",
        "environment": "test",
        "registered_by": "3fGh82kLmQ0a",
        "expires_at": "2030-01-01T09:31:00Z",
        "draining": False,
        "live": True,
    }

    name: str
    url: str
    environment: Environment
    registered_by: Annotated[str, Meta(description="Id of the key that registered it.")]
    expires_at: Annotated[Instant, Meta(description="End of its lease.")]
    draining: Annotated[bool, Meta(description="It receives no new requests.")]
    live: Annotated[bool, Meta(description="Its lease has not expired and it is not draining.")]


class CorePage(msgspec.Struct, frozen=True):
    example: ClassVar = {"cores": [CoreView.example], "next_cursor": None}

    cores: list[CoreView]
    next_cursor: NextCursor


def core_view(core: CoreRecord, now: float) -> CoreView:
    return CoreView(
        name=core.name,
        url=core.url,
        environment=core.environment.value,
        registered_by=core.registered_by,
        expires_at=rfc3339(core.expires_at),
        draining=core.draining,
        live=not core.draining and core.expires_at > now,
    )
