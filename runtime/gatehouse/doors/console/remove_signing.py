"""DELETE /v1/keys/{id}/signing: the key's requests need not be signed, and are not checked, any more."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import changed, desk, known_id
from gatehouse.flows import signing as flow
from gatehouse.wire.key_life import ChangedKey


async def remove_signing(id: str, door: Door, caller: Caller) -> ChangedKey:
    """Remove a key's signing key. Refused while the key requires signatures."""
    return changed(await flow.remove_signing(known_id(id), caller, desk=desk(door)), door)
