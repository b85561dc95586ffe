"""Rotating a key: a new token beside the old one, which works on for a grace period, exact to the second, and never longer than
it would have. Limits and credits belong to the lineage, so two working tokens have one allowance between them.

At most two generations work at a time: a second rotation during a grace period ends that of the oldest at once. Only the newest
generation can be rotated.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gatehouse.core.apikey import Pepper
from gatehouse.core.lifecycle import GRACE_S_DEFAULT, Act
from gatehouse.errors import Conflict
from gatehouse.flows.actor import Actor, Details
from gatehouse.flows.issue import TTL_S_MAX, check_expiry, digest_of, new_token, writing_generation
from gatehouse.flows.step import Changed, Desk, Draft, Effective, step
from gatehouse.store.ports import StoredKey
from gatehouse.types import OWN_SCHEME, KeyId, KeyState


class Turn(msgspec.Struct, frozen=True):
    """How to rotate. Without `ttl_s` and `expires_at` the new key lives as long as the old one was meant to live."""

    grace_s: int = GRACE_S_DEFAULT
    ttl_s: int | None = None
    expires_at: float | None = None
    reason: str = ""


class Rotated(msgspec.Struct, frozen=True):
    token: str  # of the new key: to be shown once and kept nowhere
    key: StoredKey  # the new one
    previous: StoredKey
    effective: Effective

    def __repr__(self) -> str:
        return f"Rotated({self.previous.record.id} -> {self.key.record.id})"


async def rotate(
    key_id: KeyId,
    turn: Turn,
    actor: Actor,
    *,
    desk: Desk,
    pepper: Pepper,
    prefix: str,
    random_bytes: Callable[[int], bytes],
    allow_last_admin: bool = False,
) -> Rotated:
    """Raises Conflict (not active, expired, rotated before), BadRequest (expiry), NotFound, Unavailable (try again)."""
    generation = await writing_generation(desk.store, pepper)
    made: list[tuple[str, StoredKey]] = []

    def change(key: StoredKey, target: KeyState, now: float) -> Draft:
        _check_turn(key, now)
        token = new_token(prefix, key.record.environment, pepper=pepper, generation=generation, random_bytes=random_bytes)
        successor = _successor(key, turn, now, actor)
        record = msgspec.structs.replace(
            successor.record,
            id=token.id,
            digest=digest_of(token, pepper, generation),
            pepper_generation=generation,
            scheme=OWN_SCHEME,
        )
        successor = msgspec.structs.replace(successor, record=record, id_generation=generation)
        made.append((token.text, successor))
        end = now + turn.grace_s
        if key.record.expires_at is not None:
            end = min(end, key.record.expires_at)
        ending = msgspec.structs.replace(key.record, expires_at=end)
        previous = msgspec.structs.replace(key, record=ending, successor_id=token.id, rotated_at=now)
        details: Details = {
            "reason": turn.reason,
            "successor_id": token.id,
            "lineage_id": key.record.subject,
            "generation": successor.generation,
            "grace_ends_at": end,
            "expires_at": record.expires_at,
        }
        return Draft(previous, details, successor=successor, others_end_at=now)

    done = await step(key_id, Act.ROTATE, actor, change, desk=desk, allow_last_admin=allow_last_admin)
    token, successor = made[-1]
    return Rotated(token=token, key=successor, previous=done.key, effective=done.effective)


async def end_grace(key_id: KeyId, reason: str, actor: Actor, *, desk: Desk) -> Changed:
    """Ends the grace period of a rotated key now. Raises Conflict for a key that was not rotated or has ended already."""

    def change(key: StoredKey, target: KeyState, now: float) -> Draft:
        if key.successor_id is None:
            raise Conflict("This key was not rotated, so there is no grace period to end; rotate it first, or revoke it")
        if key.record.expires_at is not None and key.record.expires_at <= now:
            raise Conflict("The grace period of this key has ended already")
        ended = msgspec.structs.replace(key, record=msgspec.structs.replace(key.record, expires_at=now))
        return Draft(ended, {"reason": reason, "successor_id": key.successor_id})

    return await step(key_id, Act.END_GRACE, actor, change, desk=desk)


def _check_turn(key: StoredKey, now: float) -> None:
    if key.successor_id is not None:
        raise Conflict(f"This key was rotated before; rotate its successor {key.successor_id}")
    if key.record.expires_at is not None and key.record.expires_at <= now:
        raise Conflict("This key has expired; make a new one")


def _successor(key: StoredKey, turn: Turn, now: float, actor: Actor) -> StoredKey:
    """All that the old one is, with a life of its own. Token, id and digest are put in by the caller."""
    expires_at = turn.expires_at
    if turn.ttl_s is not None:
        expires_at = now + turn.ttl_s
    elif expires_at is None and key.record.expires_at is not None:
        expires_at = min(now + (key.record.expires_at - key.created_at), now + TTL_S_MAX)
    check_expiry(expires_at, now)
    return msgspec.structs.replace(
        key,
        record=msgspec.structs.replace(key.record, expires_at=expires_at, version=1),
        created_at=now,
        created_by=actor.label,
        generation=key.generation + 1,
        last_used_at=None,
    )
