"""PUT /v1/keys/{id}/signing: how the key's requests are signed; an HMAC secret is handed out this once."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import desk, known_id
from gatehouse.flows import signing as flow
from gatehouse.types import SignatureAlgorithm
from gatehouse.wire.key import key_view
from gatehouse.wire.signing import SetSigning, SigningKeySet, public_key_bytes


async def set_signing(id: str, wish: SetSigning, door: Door, caller: Caller) -> SigningKeySet:
    """Set or replace a key's signing key. The secret of hmac-sha256 is in this answer and cannot be had again."""
    asked = flow.SigningWish(
        algorithm=SignatureAlgorithm(wish.algorithm),
        public_key=None if wish.public_key is None else public_key_bytes(wish.public_key),
        required=wish.required,
    )
    done = await flow.set_signing(
        known_id(id),
        asked,
        caller,
        desk=desk(door),
        pepper=door.pepper,
        random_bytes=door.random_bytes,
        allow_last_admin=wish.allow_last_admin,
    )
    return SigningKeySet(secret=done.secret, key=key_view(done.key, door.key_prefix), effective=done.effective.value)
