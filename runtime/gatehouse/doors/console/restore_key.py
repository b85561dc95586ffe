"""POST /v1/keys/{id}/restore: brings a deleted key back to the state that it had."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import changed, desk, known_id
from gatehouse.flows.change import restore
from gatehouse.wire.key_life import Because, ChangedKey


async def restore_key(id: str, door: Door, caller: Caller, wish: Because | None = None) -> ChangedKey:
    """Restore a deleted key: active, disabled or revoked, as it was."""
    wish = wish or Because()
    done = await restore(known_id(id), wish.reason, caller, desk=desk(door))
    return changed(done, door)
