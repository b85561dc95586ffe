"""Types of the log level of a running deployment."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]


class LogLevelOverride(msgspec.Struct, frozen=True):
    """A log level that replaces GATEHOUSE_LOG_LEVEL of every process for a time."""

    level: Level
    until: float  # Unix seconds
    set_by: str
