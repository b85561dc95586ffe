"""Request and response shapes of the log level."""

from typing import Annotated

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
