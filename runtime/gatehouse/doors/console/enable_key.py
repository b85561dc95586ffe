"""POST /v1/keys/{id}/enable: lets a disabled key work again."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import changed, desk, known_id
from gatehouse.flows.change import enable
from gatehouse.wire.key_life import Because, ChangedKey


async def enable_key(id: str, door: Door, caller: Caller, wish: Because | None = None) -> ChangedKey:
    """Enable a disabled key. Twice is no error."""
    wish = wish or Because()
    done = await enable(known_id(id), wish.reason, caller, desk=desk(door))
    return changed(done, door)
