"""The log level of a running deployment: where it is kept, so that every process finds it."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from gatehouse.audit.models import AuditEvent

Level = Literal["debug", "info", "warning", "error"]


class LogLevelOverride(msgspec.Struct, frozen=True):
    """Another level than the setting's, until `until` (Unix seconds)."""

    level: Level
    until: float
    set_by: str


class LevelSource(Protocol):
    async def wish(self) -> LogLevelOverride | None:
        """What was asked for last, whether or not its time is over. Raises Unavailable."""
        ...


class LevelStore(LevelSource, Protocol):
    async def set(self, wish: LogLevelOverride | None, event: AuditEvent) -> None:
        """None: back to the setting. In one transaction with its audit event. Raises Unavailable."""
        ...
