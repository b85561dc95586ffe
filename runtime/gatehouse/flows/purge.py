"""Purging a key: nothing of it is left but its id, which stays taken, so that its token can never mean anything again.

Its row is emptied (that is the tombstone), its purse, last use and Core registrations go with it, its rate counters are removed,
and every gateway drops its record. The audit trail keeps what was done, as it must: it is append-only.
"""

from __future__ import annotations

import msgspec

from gatehouse.core.lifecycle import Act
from gatehouse.errors import BadRequest, Problem
from gatehouse.flows.actor import Actor, Details
from gatehouse.flows.step import Desk, Draft, Effective, step
from gatehouse.store.ports import Counters, KeyFilter, StoredKey
from gatehouse.types import KeyId, KeyState

_NOTHING = bytes(32)


class Purged(msgspec.Struct, frozen=True):
    """counters_removed False: another generation still counts with them, or Redis was away and they end by themselves."""

    key_id: KeyId
    purged_at: float
    effective: Effective
    counters_removed: bool


async def purge(key_id: KeyId, confirm: str, reason: str, actor: Actor, *, desk: Desk, counters: Counters | None) -> Purged:
    """`confirm` must repeat the id. Raises BadRequest, NotFound, Conflict (neither deleted nor revoked), Unavailable."""
    if confirm != key_id:
        problem = Problem("body.confirm", "is not the id of this key", "repeat the id: there is no way back from a purge")
        raise BadRequest("A purge has to be confirmed", errors=(problem,))

    def change(key: StoredKey, target: KeyState, now: float) -> Draft:
        details: Details = {"reason": reason, "lineage_id": key.record.subject, "generation": key.generation}
        return Draft(_tombstone(key, now), details)

    done = await step(key_id, Act.PURGE, actor, change, desk=desk)
    subject = done.key.record.subject
    left = await desk.store.page(after=None, size=1, only=KeyFilter(lineage=subject))
    removed = counters is not None and not left.keys and await counters.forget(subject)
    return Purged(
        key_id=key_id,
        purged_at=done.key.purged_at or desk.clock.now(),
        effective=done.effective,
        counters_removed=removed,
    )


def _tombstone(key: StoredKey, now: float) -> StoredKey:
    record = msgspec.structs.replace(
        key.record,
        digest=_NOTHING,
        state=KeyState.PURGED,
        name="",
        owner="",
        scopes=(),
        cores=(),
        limits=(),
        expires_at=None,
        addresses=(),
        methods=(),
        has_credits=False,
        signing=None,
    )
    return StoredKey(record=record, created_at=now, created_by="", generation=key.generation, purged_at=now)
