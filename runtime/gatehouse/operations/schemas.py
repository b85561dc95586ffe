"""Request and response shapes of the log level and of features."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from gatehouse.http.fields import Instant

Level = Literal["debug", "info", "warning", "error"]


class SetLogLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A temporary log level."""

    example: ClassVar = {"level": "debug", "for_s": 900}

    level: Level
    for_s: Annotated[
        int, Meta(ge=10, le=86_400, description="Seconds until GATEHOUSE_LOG_LEVEL of each process applies again.")
    ] = 900


class LogLevel(msgspec.Struct, frozen=True):
    """The log level of all gateway and console workers."""

    example: ClassVar = {"level": "debug", "configured": "info", "until": "2030-06-01T09:15:00Z", "set_by": "bootstrap"}

    level: Annotated[Level, Meta(description="The level in effect.")]
    configured: Annotated[Level, Meta(description="GATEHOUSE_LOG_LEVEL of this console.")]
    until: Annotated[Instant | None, Meta(description="End of a temporary level. Null if none is set.")]
    set_by: str | None


class FeatureView(msgspec.Struct, frozen=True):
    name: str
    service: Literal["gateway", "console"]
    enabled: bool
    meaning: str


class FeatureList(msgspec.Struct, frozen=True):
    """Features as configured for this console. A gateway has its own setting, which its /readyz reports."""

    example: ClassVar = {
        "features": [
            {
                "name": "batch-verify",
                "service": "gateway",
                "enabled": True,
                "meaning": "Verify several tokens in one request.",
            }
        ]
    }

    features: list[FeatureView]
