"""DELETE /v1/keys/{id}: takes a key out of use; it can be restored for 30 days."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import changed, desk, known_id
from gatehouse.flows.change import delete
from gatehouse.wire.key_life import ChangedKey, StopKey


async def delete_key(id: str, door: Door, caller: Caller, wish: StopKey | None = None) -> ChangedKey:
    """Delete a key. It is refused like an unknown one, and can be restored for 30 days. Twice is no error."""
    wish = wish or StopKey()
    done = await delete(known_id(id), wish.reason, caller, desk=desk(door), allow_last_admin=wish.allow_last_admin)
    return changed(done, door)
