"""Changing the log level of every gateway and console worker while they run, for a time, after which the setting holds again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from gatehouse.background import Background
from gatehouse.clock import Clock
from gatehouse.errors import Unavailable
from gatehouse.identity.models import Actor
from gatehouse.operations.models import Level, LevelSource, LevelStore, LogLevelOverride

ACTION = "log-level.set"


#: Every worker looks this often: so long a change takes to be everywhere.
LOOK_S = 3.0


FOR_S_DEFAULT = 900


FOR_S_MAX = 86_400


@dataclass(frozen=True, slots=True)
class LogLevelService:
    """configured: what GATEHOUSE_LOG_LEVEL says."""

    store: LevelStore
    clock: Clock
    configured: Level

    async def now(self) -> LogLevelOverride | None:
        """What holds instead of the setting. Raises Unavailable."""
        wish = await self.store.wish()
        return wish if wish is not None and wish.until > self.clock.now() else None

    async def set(self, level: Level, for_s: int, actor: Actor) -> LogLevelOverride:
        """Raises Unavailable."""
        now = self.clock.now()
        wish = LogLevelOverride(level, now + for_s, actor.label)
        details: dict[str, str | int | float | bool | list[str] | None] = {"level": level, "for_s": for_s}
        await self.store.set(wish, actor.did(ACTION, target_type="log-level", target_id="all", at=now, details=details))
        return wish

    async def reset(self, actor: Actor) -> None:
        """Raises Unavailable."""
        now = self.clock.now()
        details: dict[str, str | int | float | bool | list[str] | None] = {"level": self.configured}
        await self.store.set(None, actor.did(ACTION, target_type="log-level", target_id="all", at=now, details=details))


class LogLevelFollower:
    """Holds one process to what was asked for. apply: sets the level of this process's log."""

    def __init__(self, source: LevelSource, clock: Clock, configured: Level, apply: Callable[[Level], None]) -> None:
        self._source = source
        self._clock = clock
        self._configured = configured
        self._apply = apply
        self._wish: LogLevelOverride | None = None
        self._applied = configured
        self._background = Background()

    def start(self) -> None:
        self._background.start(self._run(), "log-level")

    async def close(self) -> None:
        await self._background.stop()

    async def look(self) -> None:
        """One turn. Without a database the last wish goes on, and still ends at its time."""
        with contextlib.suppress(Unavailable):
            self._wish = await self._source.wish()
        wish = self._wish
        level = wish.level if wish is not None and wish.until > self._clock.now() else self._configured
        if level != self._applied:
            self._applied = level
            self._apply(level)

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)
