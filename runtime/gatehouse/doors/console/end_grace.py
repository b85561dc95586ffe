"""POST /v1/keys/{id}/end-grace: ends the grace period of a rotated key now."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import changed, desk, known_id
from gatehouse.flows.rotate import end_grace as end
from gatehouse.wire.key_life import Because, ChangedKey


async def end_grace(id: str, door: Door, caller: Caller, wish: Because | None = None) -> ChangedKey:
    """End the grace period of a rotated key at once. Its last_used_at says whether somebody still needs it."""
    wish = wish or Because()
    done = await end(known_id(id), wish.reason, caller, desk=desk(door))
    return changed(done, door)
