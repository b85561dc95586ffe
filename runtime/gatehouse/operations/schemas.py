"""Request and response shapes of the log level, of features and of the pepper status."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from gatehouse.http.fields import Instant, Level


class SetLogLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A temporary log level."""

    example: ClassVar = {"level": "debug", "for_s": 900}

    level: Level
    for_s: Annotated[
        int,
        Meta(ge=10, le=86_400, description="Number of seconds after which each process returns to its GATEHOUSE_LOG_LEVEL."),
    ] = 900


class LogLevel(msgspec.Struct, frozen=True):
    """The log level of all gateway and console workers."""

    example: ClassVar = {"level": "debug", "configured": "info", "until": "2030-06-01T09:15:00Z", "set_by": "bootstrap"}

    level: Annotated[Level, Meta(description="The current level.")]
    configured: Annotated[Level, Meta(description="Value of GATEHOUSE_LOG_LEVEL on this console.")]
    until: Annotated[
        Instant | None, Meta(description="Time at which the temporary level ends. Null if no temporary level is set.")
    ]
    set_by: str | None


class FeatureView(msgspec.Struct, frozen=True):
    name: str
    service: Literal["gateway", "console"]
    enabled: bool
    description: str


class FeatureList(msgspec.Struct, frozen=True):
    """Features as configured for this console. Each gateway has its own setting, which the /readyz endpoint of the gateway
    reports."""

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


class Propagation(msgspec.Struct, frozen=True):
    """Propagation of changes of keys. A gateway worker confirms every second which changes it has applied."""

    example: ClassVar = {"workers": 6, "behind": 0, "silent": 0, "lag_s": 0.8, "bound_s": 5.0}

    workers: Annotated[int, Meta(description="Number of live gateway workers.")]
    behind: Annotated[int, Meta(description="Number of live workers that have not confirmed the last change of a key.")]
    silent: Annotated[
        int,
        Meta(
            description="Number of workers that did not stop but have not confirmed anything for twice the propagation bound."
            " Such a worker denies every key."
        ),
    ]
    lag_s: Annotated[
        float | None, Meta(description="Time since the oldest confirmation of a live worker. Null if there is no live worker.")
    ]
    bound_s: Annotated[float, Meta(description="The propagation bound. A worker whose data is older denies every key.")]


class PepperGeneration(msgspec.Struct, frozen=True):
    generation: int
    available: Annotated[bool, Meta(description="True if the console has the secret for this generation.")]
    keys: Annotated[
        int,
        Meta(description="Number of keys stored under this generation. A key moves to the newest generation when it is used."),
    ]
    ids: Annotated[int, Meta(description="Number of key IDs that are checked with this generation.")]
    cores: Annotated[
        int,
        Meta(
            description="Number of registered Cores that depend on this generation. These Cores must register "
            "again if the generation is removed."
        ),
    ]
    imported: Annotated[
        int,
        Meta(
            description="Number of imported keys that require this generation. Rotate these keys before "
            "you remove the generation."
        ),
    ]
    signing: Annotated[
        int,
        Meta(
            description="Number of signing secrets encrypted under this generation. A background job re-encrypts these secrets."
        ),
    ]
    removable: Annotated[bool, Meta(description="True if the generation is unused and can be removed from GATEHOUSE_PEPPER.")]


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
    writing: Annotated[
        int, Meta(description="Generation for new keys: the newest generation that every live gateway worker can read.")
    ]
    generations: list[PepperGeneration]
