"""Request and response shapes of the log level and of features."""

from typing import Annotated, ClassVar

from msgspec import Meta

from gatehouse.platform.settings import Level
from gatehouse.platform.web.fields import Input, Instant, View


class SetLogLevel(Input):
    """A temporary log level."""

    level: Level
    for_s: Annotated[
        int,
        Meta(
            ge=10,
            le=86_400,
            description=(
                "Number of seconds after which each process returns to its GATEHOUSE_LOG_LEVEL."
            ),
        ),
    ] = 900


class LogLevel(View):
    """The log level of all gateway and console workers."""

    level: Annotated[Level, Meta(description="The current level.")]
    configured: Annotated[Level, Meta(description="Value of GATEHOUSE_LOG_LEVEL on this console.")]
    until: Annotated[
        Instant | None,
        Meta(
            description="Time at which the temporary level ends. Null if no temporary level is set."
        ),
    ]
    set_by: str | None


class SwitchFeature(Input):
    """The new state of a feature."""

    example: ClassVar = {"enabled": False}

    enabled: bool


class FeatureView(View):
    """A feature of the gateway or the console."""

    example: ClassVar = {"name": "proxy", "enabled": True, "configured": True}

    name: str
    enabled: Annotated[bool, Meta(description="False if requests for the feature result in 503.")]
    configured: Annotated[
        bool, Meta(description="False if GATEHOUSE_FEATURES disables the feature on this console.")
    ]
    changed_at: Annotated[
        Instant | None, Meta(description="Time of the last change. Null if there was none.")
    ]
    changed_by: str | None


class FeatureList(View):
    """The features of the gateway and the console."""

    features: list[FeatureView]
