"""POST /v1/keys/{id}/revoke: ends a key for good, and says from when on that holds."""

from __future__ import annotations

from gatehouse.core.apikey import key_id
from gatehouse.doors.console.caller import Caller, Door
from gatehouse.errors import NotFound
from gatehouse.flows.revoke import revoke
from gatehouse.wire.key import RevokedKey, RevokeKey, key_view


async def revoke_key(id: str, door: Door, caller: Caller, wish: RevokeKey | None = None) -> RevokedKey:
    """Revoke a key. Answers when every live gateway refuses it, or when the staleness bound has passed. Twice is no error."""
    known = key_id(id)
    if known is None:
        raise NotFound("There is no key with this id")
    reason = wish.reason if wish else ""
    done = await revoke(known, reason, caller, store=door.keys, clock=door.clock, bound_s=door.staleness_s)
    return RevokedKey(key=key_view(done.key, door.key_prefix), effective=done.effective.value)
