"""POST /v1/keys/{id}/rotate: a new token beside the old one, which works on for a grace period."""

from __future__ import annotations

from fastapi import Response

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import desk, known_id
from gatehouse.flows.rotate import Turn, rotate
from gatehouse.wire.key import key_view
from gatehouse.wire.key_life import RotatedKey, RotateKey


async def rotate_key(id: str, door: Door, caller: Caller, response: Response, wish: RotateKey | None = None) -> RotatedKey:
    """Rotate a key. The new token is in this answer and cannot be had again. An earlier grace period ends."""
    wish = wish or RotateKey()
    turn = Turn(
        grace_s=wish.grace_s,
        ttl_s=wish.ttl_s,
        expires_at=None if wish.expires_at is None else wish.expires_at.timestamp(),
        reason=wish.reason,
    )
    done = await rotate(
        known_id(id),
        turn,
        caller,
        desk=desk(door),
        pepper=door.pepper,
        prefix=door.key_prefix,
        random_bytes=door.random_bytes,
        allow_last_admin=wish.allow_last_admin,
    )
    response.headers["Location"] = f"/v1/keys/{done.key.record.id}"
    return RotatedKey(
        token=done.token,
        key=key_view(done.key, door.key_prefix),
        previous=key_view(done.previous, door.key_prefix),
        effective=done.effective.value,
    )
