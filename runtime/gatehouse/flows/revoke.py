"""Revoking a key: ends it for good, and waits until no gate opens for it any more."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gatehouse.errors import NotFound
from gatehouse.flows.actor import Actor
from gatehouse.store.ports import Clock, KeyStore, StoredKey
from gatehouse.types import KeyId

ACTION = "key.revoke"


class Effective(StrEnum):
    """From when on the revocation holds."""

    EVERYWHERE = "everywhere"  # every live gate worker has confirmed it
    WITHIN_BOUND = "within_bound"  # stored; a worker that has not heard of it refuses everything after the staleness bound


class Revoked(msgspec.Struct, frozen=True):
    key: StoredKey
    effective: Effective


async def revoke(key_id: KeyId, reason: str, actor: Actor, *, store: KeyStore, clock: Clock, bound_s: float) -> Revoked:
    """Revokes with an audit event; a second time changes and writes nothing. Waits at most `bound_s`.

    Raises NotFound, Unavailable (then nothing was revoked).
    """
    now = clock.now()
    event = actor.did(ACTION, target_type="key", target_id=key_id, at=now, details={"reason": reason})
    done = await store.revoke(key_id, at=now, by=actor.label, reason=reason, event=event)
    if done is None:
        raise NotFound("There is no key with this id")
    key, change_seq = done
    confirmed = await store.confirmed_everywhere(change_seq, timeout_s=bound_s)
    return Revoked(key=key, effective=Effective.EVERYWHERE if confirmed else Effective.WITHIN_BOUND)
