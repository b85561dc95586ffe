"""Request and response shapes of the log level, of features and of the pepper status."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from gatehouse.http.fields import Instant
from gatehouse.settings import Level


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
    description: str


class FeatureList(msgspec.Struct, frozen=True):
    """Features as configured for this console. A gateway has its own setting, which its /readyz reports."""

    example: ClassVar = {
        "features": [
            {
                "name": "batch-verify",
                "service": "gateway",
                "enabled": True,
                "description": "One request verifies several tokens.",
            }
        ]
    }

    features: list[FeatureView]


class PepperGeneration(msgspec.Struct, frozen=True):
    generation: int
    available: Annotated[bool, Meta(description="The console has the secret of this generation.")]
    keys: Annotated[int, Meta(description="Keys stored under this generation. They move to the newest one when they are used.")]
    ids: Annotated[int, Meta(description="Key ids whose check uses this generation.")]
    cores: Annotated[int, Meta(description="Registered Cores. They must register again if it is removed.")]
    imported: Annotated[int, Meta(description="Imported keys that require it. Rotate them before you remove it.")]
    signing: Annotated[int, Meta(description="Encrypted signing secrets. A background job re-encrypts them.")]
    removable: Annotated[bool, Meta(description="The generation is unused and can be removed from GATEHOUSE_PEPPER.")]


class PepperStatus(msgspec.Struct, frozen=True):
    example: ClassVar = {
        "current": 2,
        "writing": 2,
        "generations": [
            {
                "generation": 2,
                "available": True,
                "keys": 120,
                "ids": 120,
                "cores": 3,
                "imported": 0,
                "signing": 4,
                "removable": False,
            }
        ],
    }

    current: Annotated[int, Meta(description="The newest configured generation.")]
    writing: Annotated[int, Meta(description="Generation of new keys: the newest that every live gateway worker has.")]
    generations: list[PepperGeneration]
