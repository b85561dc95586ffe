"""GET, PUT and DELETE /v1/log-level: how much every gateway and console worker logs, changed while they run."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.store.ports_level import LevelWish
from gatehouse.wire.key_parts import rfc3339
from gatehouse.wire.operate import LogLevel, SetLogLevel


async def show_log_level(door: Door) -> LogLevel:
    """Show the log level that holds now."""
    return _view(door, await door.levels.now())


async def set_log_level(wish: SetLogLevel, door: Door, caller: Caller) -> LogLevel:
    """Set the log level of every gateway and console worker for a time. It is everywhere after three seconds."""
    return _view(door, await door.levels.set(wish.level, wish.for_s, caller))


async def reset_log_level(door: Door, caller: Caller) -> None:
    """Let the setting of each process hold again."""
    await door.levels.reset(caller)


def _view(door: Door, wish: LevelWish | None) -> LogLevel:
    configured = door.levels.configured
    if wish is None:
        return LogLevel(level=configured, configured=configured, until=None, set_by=None)
    return LogLevel(level=wish.level, configured=configured, until=rfc3339(wish.until), set_by=wish.set_by)
