"""The JSON shape of registered Cores as the console lists them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from gatehouse.cores.models import CoreRecord
from gatehouse.timestamps import rfc3339


class ListCores(BaseModel):
    """The query of a page of Cores."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cursor: Annotated[str | None, Field(max_length=512, description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


_EXAMPLE: JsonDict = {
    "name": "docs",
    "url": "https://docs.example.com",
    "environment": "test",
    "registered_by": "3fGh82kLmQ0a",
    "expires_at": "2030-01-01T09:31:00Z",
    "draining": False,
    "live": True,
}


class CoreView(BaseModel):
    """A Core. `live`: its lease has not run out and it is not draining."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={"examples": [_EXAMPLE]},
    )

    name: str
    url: str
    environment: Literal["test", "live"]
    registered_by: str
    expires_at: str
    draining: bool
    live: bool


class CorePage(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"cores": [_EXAMPLE], "next_cursor": None}]})

    cores: list[CoreView]
    next_cursor: str | None


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
