"""POST /v1/keys/{id}/disable: refuses a key until it is enabled again."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import changed, desk, known_id
from gatehouse.flows.change import disable
from gatehouse.wire.key_life import ChangedKey, StopKey


async def disable_key(id: str, door: Door, caller: Caller, wish: StopKey | None = None) -> ChangedKey:
    """Disable a key. Twice is no error."""
    wish = wish or StopKey()
    done = await disable(known_id(id), wish.reason, caller, desk=desk(door), allow_last_admin=wish.allow_last_admin)
    return changed(done, door)
