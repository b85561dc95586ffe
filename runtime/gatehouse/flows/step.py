"""One act on one key: asks the table of its life, writes key and audit event together, waits until the gateways know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from gatehouse.core.lifecycle import Act, is_repeat, next_state, refusal
from gatehouse.core.roles import OWNER_SCOPES
from gatehouse.errors import Conflict, NotFound
from gatehouse.flows.actor import Actor, Details
from gatehouse.store.ports import Alteration, Clock, KeyStore, StoredKey, Surroundings
from gatehouse.types import KeyId, KeyState

#: Acts that may leave nobody who can manage keys, and so are refused on the last admin key unless that is asked for. Not
#: `revoke`: a credential that leaked must end, whatever else happens.
_GUARDED = frozenset({Act.UPDATE, Act.DISABLE, Act.DELETE, Act.ROTATE, Act.END_GRACE})

_LAST = (
    "This is the last key that can manage keys, and it would no longer, or not as long; make another one first, or send"
    " allow_last_admin"
)
_LAST_GRACE = "This is the last key that can manage keys: its successor cannot; make another one first"


class Effective(StrEnum):
    """From when on a change holds."""

    EVERYWHERE = "everywhere"  # every live gateway worker has confirmed it
    WITHIN_BOUND = "within_bound"  # stored; a worker that has not heard of it refuses everything after the staleness bound


class Changed(msgspec.Struct, frozen=True):
    key: StoredKey
    effective: Effective


class Draft(msgspec.Struct, frozen=True):
    """What an act makes of a key, and what the audit trail keeps of it. For the others see `ports.Alteration`."""

    key: StoredKey
    details: Details
    successor: StoredKey | None = None
    others_end_at: float | None = None


#: (key, the state it goes to, now) -> draft. Pure but for the errors that it raises.
Change = Callable[[StoredKey, KeyState, float], Draft]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where keys are managed from. bound_s: how long an act waits for the gateways at most."""

    store: KeyStore
    clock: Clock
    bound_s: float


async def step(
    key_id: KeyId,
    act: Act,
    actor: Actor,
    change: Change,
    *,
    desk: Desk,
    allow_last_admin: bool = False,
) -> Changed:
    """Does `act`. Done already: the key as it is. Raises NotFound, Conflict, Unavailable (then nothing was changed)."""
    now = desk.clock.now()

    def work(key: StoredKey, around: Surroundings) -> Alteration | None:
        state = key.record.state
        if is_repeat(state, act):
            return None
        target = next_state(state, act, key.state_before)
        if target is None:
            raise Conflict(refusal(state, act))
        draft = change(key, target, now)
        if act in _GUARDED and around.last_admin and not allow_last_admin and not _owner_stays(key, draft):
            raise Conflict(_LAST if act is not Act.END_GRACE else _LAST_GRACE)
        event = actor.did(f"key.{act.value}", target_type="key", target_id=key_id, at=now, details=draft.details)
        return Alteration(key=draft.key, event=event, successor=draft.successor, others_end_at=draft.others_end_at)

    done = await desk.store.alter(key_id, work)
    if done is None:
        raise NotFound("There is no key with this id")
    key, change_seq = done
    confirmed = await desk.store.confirmed_everywhere(change_seq, timeout_s=desk.bound_s)
    return Changed(key=key, effective=Effective.EVERYWHERE if confirmed else Effective.WITHIN_BOUND)


def with_state(key: StoredKey, state: KeyState) -> StoredKey:
    """The key in another state, nothing else changed."""
    return msgspec.structs.replace(key, record=msgspec.structs.replace(key.record, state=state))


def _owner_stays(before: StoredKey, draft: Draft) -> bool:
    """Whether what an act leaves of the last owner's key still manages, and for as long as that would have."""
    left = [draft.key, *([] if draft.successor is None else [draft.successor])]
    return any(_owns(one) and _end(one) >= _end(before) for one in left)


def _owns(key: StoredKey) -> bool:
    if key.record.signing is not None and key.record.signing.required:
        return False  # the console takes no signatures
    return key.record.state is KeyState.ACTIVE and not set(OWNER_SCOPES).isdisjoint(key.record.scopes)


def _end(key: StoredKey) -> float:
    return math.inf if key.record.expires_at is None else key.record.expires_at
