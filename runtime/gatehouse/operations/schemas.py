"""The JSON shapes of what operators look at and set while a deployment runs: log level and features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_LEVELS = Literal["debug", "info", "warning", "error"]


class SetLogLevel(BaseModel):
    """Another log level for a time."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [{"level": "debug", "for_s": 900}]}
    )

    level: _LEVELS
    for_s: Annotated[
        int, Field(ge=10, le=86_400, description="Seconds after which GATEHOUSE_LOG_LEVEL of each process holds again.")
    ] = 900


class LogLevel(BaseModel):
    """`level`: what holds now. `configured`: this console's setting. `until`: None while the setting holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"level": "debug", "configured": "info", "until": "2030-06-01T09:15:00Z", "set_by": "bootstrap"}]
        }
    )

    level: _LEVELS
    configured: _LEVELS
    until: str | None
    set_by: str | None


class FeatureView(BaseModel):
    name: str
    service: Literal["gateway", "console"]
    enabled: bool
    meaning: str


class FeatureList(BaseModel):
    """As this console is set; a gateway has a setting of its own, which its /readyz tells."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "features": [
                        {
                            "name": "batch-verify",
                            "service": "gateway",
                            "enabled": True,
                            "meaning": "several tokens are verified by one request",
                        }
                    ]
                }
            ]
        }
    )

    features: list[FeatureView]
