"""POST /v1/keys/{id}/purge: removes all that is known of a deleted or revoked key; its id stays taken."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import desk, known_id
from gatehouse.flows.purge import purge
from gatehouse.wire.key_life import PurgedKey, PurgeKey
from gatehouse.wire.key_parts import rfc3339


async def purge_key(id: str, wish: PurgeKey, door: Door, caller: Caller) -> PurgedKey:
    """Purge a deleted or revoked key: there is no way back. The audit trail keeps what was done. Twice is no error."""
    done = await purge(known_id(id), wish.confirm, wish.reason, caller, desk=desk(door), counters=door.counters)
    return PurgedKey(
        id=done.key_id,
        purged_at=rfc3339(done.purged_at),
        effective=done.effective.value,
        counters_removed=done.counters_removed,
    )
