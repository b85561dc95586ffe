"""Revoking a key: ends it for good, and waits until no gateway opens for it any more; by an operator, or by whoever holds it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gatehouse.core.apikey import Pepper, parse
from gatehouse.core.decide import DUMMY_DIGEST
from gatehouse.core.lifecycle import Act, next_state
from gatehouse.flows.actor import Actor
from gatehouse.flows.foreign import ForeignTokens
from gatehouse.flows.step import Changed, Desk, Draft, Effective, step, with_state
from gatehouse.store.ports import Clock, Keys, KeyStore, SelfRevocations, StoredKey
from gatehouse.types import KeyId, KeyState, RequestId

__all__ = ["ACTION", "Effective", "Revoked", "SelfRevocation", "revoke"]

ACTION = "key.revoke"
SELF_ACTION = "key.self-revoke"

Revoked = Changed


async def revoke(key_id: KeyId, reason: str, actor: Actor, *, store: KeyStore, clock: Clock, bound_s: float) -> Revoked:
    """Revokes with an audit event; a second time changes and writes nothing. Waits at most `bound_s`.

    Raises NotFound, Conflict (a deleted key), Unavailable (then nothing was revoked).
    """

    def change(key: StoredKey, target: KeyState, now: float) -> Draft:
        ended = msgspec.structs.replace(with_state(key, target), revoked_at=now, revoked_by=actor.label, revoke_reason=reason)
        return Draft(ended, {"reason": reason})

    return await step(key_id, Act.REVOKE, actor, change, desk=Desk(store, clock, bound_s))


@dataclass(frozen=True, slots=True)
class SelfRevocation:
    """Whoever holds a token may end it, without an account: the token itself is the right to do so.

    bound_s: how long the answer waits for the other workers at most.
    """

    keys: Keys
    revocations: SelfRevocations
    clock: Clock
    pepper: Pepper
    prefix: str
    bound_s: float
    foreign: ForeignTokens | None = None

    async def revoke(
        self, token: str, reason: str, *, request_id: RequestId, source_address: str
    ) -> tuple[KeyId, Effective] | None:
        """The key that was revoked, and from when on; None when the token proves possession of none that could be.

        Raises Unavailable; then nothing was revoked.
        """
        parsed, material = parse(token, self.prefix), token
        if parsed is not None:
            record = await self.keys.find(parsed.id)
        else:
            found = None if self.foreign is None else await self.foreign.find(token)
            if self.foreign is None or found is None or found.record is None:
                return None
            record, material = await self.foreign.prove(found.record, token, found.material) or found.record, found.material
        digest, generation = (DUMMY_DIGEST, self.pepper.current) if record is None else (record.digest, record.pepper_generation)
        proven = self.pepper.matches(material, digest, generation)
        if record is None or not proven or next_state(record.state, Act.REVOKE) is None or record.state is KeyState.REVOKED:
            return None
        now = self.clock.now()
        actor = Actor(type="key", id=record.id, request_id=request_id, source_address=source_address)
        event = actor.did(SELF_ACTION, target_type="key", target_id=record.id, at=now, details={"reason": reason})
        done = await self.revocations.revoke(record.id, at=now, by=actor.label, reason=reason, event=event)
        if done is None:
            return None
        everywhere = await self.revocations.confirmed_everywhere(done[1], timeout_s=self.bound_s)
        return done[0].id, Effective.EVERYWHERE if everywhere else Effective.WITHIN_BOUND
