"""Issuing a key: makes the token, stores what verifies it, and hands the token out this once.

One act on one key: asks the table of its life, writes key and audit event together, waits until the gateways know.

Changing a key while it lives: update, disable, enable, delete with a way back, restore.

Revoking a key: ends it for good, and waits until no gateway opens for it any more; by an operator, or by whoever holds it.

Rotating a key: a new token beside the old one, which works on for a grace period, exact to the second, and never longer than
it would have. Limits and credits belong to the lineage, so two working tokens have one allowance between them.

At most two generations work at a time: a second rotation during a grace period ends that of the oldest at once. Only the newest
generation can be rotated.

Purging a key: nothing of it is left but its id, which stays taken, so that its token can never mean anything again.

Its row is emptied (that is the tombstone), its purse, last use and Core registrations go with it, its rate counters are removed,
and every gateway drops its record. The audit trail keeps what was done, as it must: it is append-only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.audit.models import AuditEvent
from gatehouse.clock import Clock
from gatehouse.crypto.token import ParsedToken, Pepper, build_marked, parse
from gatehouse.errors import BadRequest, Conflict, NotFound, PreconditionFailed, Problem, Unavailable
from gatehouse.http.models import RequestId
from gatehouse.identity.models import Actor, Details
from gatehouse.keys.lifecycle import GRACE_S_DEFAULT, RESTORE_WINDOW_S, Action, is_repeat, next_state, refusal
from gatehouse.keys.models import (
    OWN_SCHEME,
    CreditPlan,
    KeyEnvironment,
    KeyFilter,
    KeyId,
    KeyRecord,
    KeyState,
    KeyStore,
    KeyUpdate,
    LockedKey,
    RateLimit,
    SelfRevocations,
    Signing,
    StoredKey,
)
from gatehouse.keys.roles import OWNER_SCOPES, granted
from gatehouse.verification.decision import DUMMY_DIGEST
from gatehouse.verification.imported_keys import ImportedKeys
from gatehouse.verification.models import Counters, Keys

ACTION = "key.create"


#: Ids carry 47 random bits: a second collision in a row means a broken source of randomness.
_ID_ATTEMPTS = 2


#: Ten years: whatever lives longer should have been rotated long before.
TTL_S_MAX = 10 * 365 * 86_400


_ID_BYTES = 12


_SECRET_BYTES = 32


class NewKey(msgspec.Struct, frozen=True):
    """What the key shall be. `ttl_s` and `expires_at` (Unix seconds) exclude each other; neither = it does not expire."""

    name: str
    owner: str
    environment: KeyEnvironment
    scopes: tuple[str, ...]
    cores: tuple[str, ...]
    limits: tuple[RateLimit, ...]
    expires_at: float | None = None
    ttl_s: int | None = None
    roles: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    credits: CreditPlan | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    notes: str = ""


class Issued(msgspec.Struct, frozen=True):
    token: str  # the secret itself: to be shown once and kept nowhere
    key: StoredKey

    def __repr__(self) -> str:
        return f"Issued({self.key.record.id})"


async def issue(
    order: NewKey,
    actor: Actor,
    *,
    store: KeyStore,
    pepper: Pepper,
    prefix: str,
    clock: Clock,
    random_bytes: Callable[[int], bytes],
) -> Issued:
    """Stores a new key with its audit event. Raises BadRequest when it would be born expired, Unavailable."""
    now = clock.now()
    expires_at = now + order.ttl_s if order.ttl_s is not None else order.expires_at
    check_expiry(expires_at, now)
    generation = await writing_generation(store, pepper)
    for _ in range(_ID_ATTEMPTS):
        token = new_token(prefix, order.environment, pepper=pepper, generation=generation, random_bytes=random_bytes)
        record = KeyRecord(
            id=token.id,
            digest=digest_of(token, pepper, generation),
            pepper_generation=generation,
            environment=order.environment,
            state=KeyState.ACTIVE,
            name=order.name,
            owner=order.owner,
            scopes=granted(order.scopes, order.roles),
            cores=order.cores,
            limits=order.limits,
            expires_at=expires_at,
            version=1,
            lineage=token.id,
            addresses=order.addresses,
            methods=order.methods,
            has_credits=order.credits is not None,
        )
        key = StoredKey(
            record=record,
            created_at=now,
            created_by=actor.label,
            own_scopes=order.scopes,
            roles=order.roles,
            tags=order.tags,
            metadata=order.metadata,
            notes=order.notes,
            credits=order.credits,
            id_generation=generation,
        )
        try:
            await store.add(key, _event(key, actor, now))
        except Conflict:
            continue
        return Issued(token=token.text, key=key)
    raise Unavailable("Keys cannot be issued at the moment", detail="random key ids collide")


async def writing_generation(store: KeyStore, pepper: Pepper) -> int:
    """The pepper generation to write with: the newest that every live gateway can read already, so that no new key fails there.

    While a new generation is rolled out, that is still the old one.
    """
    held = [generation for generation in pepper.generations if generation <= pepper.current]
    return await store.writable_generation(held) or pepper.current


def new_token(
    prefix: str, environment: KeyEnvironment, *, pepper: Pepper, generation: int, random_bytes: Callable[[int], bytes]
) -> ParsedToken:
    """A token whose id is marked under the generation. Raises Unavailable when that is not held."""
    token = build_marked(
        prefix, environment, random_bytes(_ID_BYTES), random_bytes(_SECRET_BYTES), pepper=pepper, generation=generation
    )
    if token is None:
        raise _no_generation()
    return token


def digest_of(token: ParsedToken, pepper: Pepper, generation: int) -> bytes:
    """What is stored of a token. Raises Unavailable when the generation is not held."""
    digest = pepper.digest(token.text, generation)
    if digest is None:
        raise _no_generation()
    return digest


def check_expiry(expires_at: float | None, now: float) -> None:
    """Raises BadRequest for an instant that is past or more than ten years ahead; None is no end."""
    if expires_at is None:
        return
    if expires_at <= now:
        raise _bad_expiry("is in the past", "send a later instant")
    if expires_at > now + TTL_S_MAX:
        raise _bad_expiry("is more than ten years ahead", "send an earlier instant, and rotate the key before it")


def limit_texts(limits: tuple[RateLimit, ...]) -> list[str]:
    """Limits as the audit trail keeps them."""
    return [
        f"{one.name}:{one.quota}/{one.window_s}s burst {one.burst}" + (f" cost {one.cost}" if one.cost != 1 else "")
        for one in limits
    ]


def _no_generation() -> Unavailable:
    return Unavailable("Keys cannot be issued at the moment", detail="the pepper generation is not held")


def _bad_expiry(message: str, fix: str) -> BadRequest:
    return BadRequest("The key cannot have this expiry", errors=(Problem("body.expires_at", message, fix),))


def _event(key: StoredKey, actor: Actor, now: float) -> AuditEvent:
    record = key.record
    return actor.did(
        ACTION,
        target_type="key",
        target_id=record.id,
        at=now,
        details={
            "name": record.name,
            "owner": record.owner,
            "environment": record.environment.value,
            "scopes": list(key.own_scopes),
            "roles": list(key.roles),
            "cores": list(record.cores),
            "methods": list(record.methods),
            "addresses": list(record.addresses),
            "limits": limit_texts(record.limits),
            "credits": None if key.credits is None else key.credits.remaining,
            "expires_at": record.expires_at,
            "pepper_generation": record.pepper_generation,
        },
    )


#: Acts that may leave nobody who can manage keys, and so are refused on the last admin key unless that is asked for. Not
#: `revoke`: a credential that leaked must end, whatever else happens.
_GUARDED = frozenset({Action.UPDATE, Action.DISABLE, Action.DELETE, Action.ROTATE, Action.END_GRACE})


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


class KeyChange(msgspec.Struct, frozen=True):
    """What an act makes of a key, and what the audit trail keeps of it. For the others see `ports.Alteration`."""

    key: StoredKey
    details: Details
    successor: StoredKey | None = None
    others_end_at: float | None = None


#: (key, the state it goes to, now) -> draft. Pure but for the errors that it raises.
Change = Callable[[StoredKey, KeyState, float], KeyChange]


@dataclass(frozen=True, slots=True)
class KeyService:
    """Where keys are managed from. bound_s: how long an act waits for the gateways at most."""

    store: KeyStore
    clock: Clock
    bound_s: float


async def step(
    key_id: KeyId,
    act: Action,
    actor: Actor,
    change: Change,
    *,
    desk: KeyService,
    allow_last_admin: bool = False,
) -> Changed:
    """Does `act`. Done already: the key as it is. Raises NotFound, Conflict, Unavailable (then nothing was changed)."""
    now = desk.clock.now()

    def work(key: StoredKey, around: LockedKey) -> KeyUpdate | None:
        state = key.record.state
        if is_repeat(state, act):
            return None
        target = next_state(state, act, key.state_before)
        if target is None:
            raise Conflict(refusal(state, act))
        draft = change(key, target, now)
        if act in _GUARDED and around.last_admin and not allow_last_admin and not _owner_stays(key, draft):
            raise Conflict(_LAST if act is not Action.END_GRACE else _LAST_GRACE)
        event = actor.did(f"key.{act.value}", target_type="key", target_id=key_id, at=now, details=draft.details)
        return KeyUpdate(key=draft.key, event=event, successor=draft.successor, others_end_at=draft.others_end_at)

    done = await desk.store.alter(key_id, work)
    if done is None:
        raise NotFound("There is no key with this id")
    key, change_seq = done
    confirmed = await desk.store.confirmed_everywhere(change_seq, timeout_s=desk.bound_s)
    return Changed(key=key, effective=Effective.EVERYWHERE if confirmed else Effective.WITHIN_BOUND)


def with_state(key: StoredKey, state: KeyState) -> StoredKey:
    """The key in another state, nothing else changed."""
    return msgspec.structs.replace(key, record=msgspec.structs.replace(key.record, state=state))


def _owner_stays(before: StoredKey, draft: KeyChange) -> bool:
    """Whether what an act leaves of the last owner's key still manages, and for as long as that would have."""
    left = [draft.key, *([] if draft.successor is None else [draft.successor])]
    return any(_owns(one) and _end(one) >= _end(before) for one in left)


def _owns(key: StoredKey) -> bool:
    if key.record.signing is not None and key.record.signing.required:
        return False  # the console takes no signatures
    return key.record.state is KeyState.ACTIVE and not set(OWNER_SCOPES).isdisjoint(key.record.scopes)


def _end(key: StoredKey) -> float:
    return math.inf if key.record.expires_at is None else key.record.expires_at


_RECORD = ("name", "owner", "cores", "methods", "addresses", "limits", "expires_at")


_BESIDE = ("tags", "metadata", "notes")


#: Told to the audit trail by name alone: free text, which people paste things into.
_UNTOLD = frozenset({"metadata", "notes"})


class KeyPatch(msgspec.Struct, frozen=True):
    """What shall be different. UNSET stays as it is. `expires_at` None: no end. `credits` None: nothing is counted."""

    name: str | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    scopes: tuple[str, ...] | UnsetType = UNSET
    roles: tuple[str, ...] | UnsetType = UNSET
    cores: tuple[str, ...] | UnsetType = UNSET
    methods: tuple[str, ...] | UnsetType = UNSET
    addresses: tuple[str, ...] | UnsetType = UNSET
    limits: tuple[RateLimit, ...] | UnsetType = UNSET
    expires_at: float | UnsetType | None = UNSET
    credits: CreditPlan | UnsetType | None = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    notes: str | UnsetType = UNSET
    require_signature: bool | UnsetType = UNSET


async def change_key(
    key_id: KeyId, wishes: KeyPatch, actor: Actor, *, desk: KeyService, version: int | None, allow_last_admin: bool = False
) -> Changed:
    """Updates. `version`: the one that was read; None: whatever it is now.

    Raises PreconditionFailed when it has changed since, BadRequest (expiry), and what `step` raises.
    """

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        if version is not None and version != key.record.version:
            raise PreconditionFailed(f"The key is at version {key.record.version} now; read it again and decide anew")
        if not isinstance(wishes.expires_at, UnsetType):
            _check_new_expiry(key, wishes.expires_at, now)
        after = _changed(key, wishes)
        return KeyChange(after, _told(key, after, wishes))

    return await step(key_id, Action.UPDATE, actor, change, desk=desk, allow_last_admin=allow_last_admin)


async def disable(key_id: KeyId, reason: str, actor: Actor, *, desk: KeyService, allow_last_admin: bool = False) -> Changed:
    """Refuses the key until it is enabled again."""
    return await step(key_id, Action.DISABLE, actor, _to(reason), desk=desk, allow_last_admin=allow_last_admin)


async def enable(key_id: KeyId, reason: str, actor: Actor, *, desk: KeyService) -> Changed:
    return await step(key_id, Action.ENABLE, actor, _to(reason), desk=desk)


async def delete(key_id: KeyId, reason: str, actor: Actor, *, desk: KeyService, allow_last_admin: bool = False) -> Changed:
    """Takes the key out of use; `restore` leads back within RESTORE_WINDOW_S."""

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        gone = msgspec.structs.replace(
            with_state(key, target), state_before=key.record.state, deleted_at=now, deleted_by=actor.label
        )
        return KeyChange(gone, {"reason": reason, "state_before": key.record.state.value})

    return await step(key_id, Action.DELETE, actor, change, desk=desk, allow_last_admin=allow_last_admin)


async def restore(key_id: KeyId, reason: str, actor: Actor, *, desk: KeyService) -> Changed:
    """Back to the state before the deletion. Raises Conflict when the window has passed."""

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        if key.deleted_at is not None and now > key.deleted_at + RESTORE_WINDOW_S:
            raise Conflict(f"It was deleted more than {RESTORE_WINDOW_S // 86_400} days ago; make a new key")
        back = msgspec.structs.replace(with_state(key, target), state_before=None, deleted_at=None, deleted_by=None)
        return KeyChange(back, {"reason": reason, "state": target.value})

    return await step(key_id, Action.RESTORE, actor, change, desk=desk)


def _to(reason: str) -> Change:
    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        return KeyChange(with_state(key, target), {"reason": reason})

    return change


def _changed(key: StoredKey, wishes: KeyPatch) -> StoredKey:
    own = key.own_scopes if isinstance(wishes.scopes, UnsetType) else wishes.scopes
    roles = key.roles if isinstance(wishes.roles, UnsetType) else wishes.roles
    plan = key.credits if isinstance(wishes.credits, UnsetType) else wishes.credits
    record = msgspec.structs.replace(
        key.record,
        **_set(wishes, _RECORD),
        scopes=granted(own, roles),
        has_credits=plan is not None,
        signing=_signing(key.record.signing, wishes.require_signature),
    )
    return msgspec.structs.replace(key, record=record, own_scopes=own, roles=roles, credits=plan, **_set(wishes, _BESIDE))


def _signing(signing: Signing | None, required: bool | UnsetType) -> Signing | None:
    if isinstance(required, UnsetType):
        return signing
    if signing is None:
        if required:
            problem = Problem("body.require_signature", "needs a signing key", "set one first: PUT /v1/keys/{id}/signing")
            raise BadRequest("There is nothing to check signatures with", errors=(problem,))
        return None
    return msgspec.structs.replace(signing, required=required)


def _set(wishes: KeyPatch, names: tuple[str, ...]) -> dict[str, object]:
    return {name: value for name in names if (value := getattr(wishes, name)) is not UNSET}


def _check_new_expiry(key: StoredKey, expires_at: float | None, now: float) -> None:
    check_expiry(expires_at, now)
    end = key.record.expires_at
    if key.successor_id is not None and end is not None and (expires_at is None or expires_at > end):
        problem = Problem("body.expires_at", "is later than the end of the grace period", "let clients use the successor")
        raise BadRequest("A key that was rotated does not live longer", errors=(problem,))


def _told(before: StoredKey, after: StoredKey, wishes: KeyPatch) -> Details:
    """What the audit trail keeps: which members were sent, and the new values of those that decide."""
    names = sorted(name for name in wishes.__struct_fields__ if getattr(wishes, name) is not UNSET)
    told: Details = {"changed": list(names), "version": before.record.version}
    for name in names:
        value = getattr(wishes, name)
        if name in _UNTOLD:
            continue
        if name == "limits":
            told[name] = limit_texts(after.record.limits)
        elif isinstance(value, CreditPlan):
            told[name] = credit_text(value)
        else:
            told[name] = list(value) if isinstance(value, tuple) else value
    return told


def credit_text(plan: CreditPlan) -> str:
    refill = f", {plan.refill_amount} every {plan.refill_every}" if plan.refill_every else ""
    return f"{plan.remaining}{refill}"


__all__ = ["REVOKE_ACTION", "Effective", "Revoked", "SelfRevocation", "revoke"]


REVOKE_ACTION = "key.revoke"


SELF_ACTION = "key.self-revoke"


Revoked = Changed


async def revoke(key_id: KeyId, reason: str, actor: Actor, *, store: KeyStore, clock: Clock, bound_s: float) -> Revoked:
    """Revokes with an audit event; a second time changes and writes nothing. Waits at most `bound_s`.

    Raises NotFound, Conflict (a deleted key), Unavailable (then nothing was revoked).
    """

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        ended = msgspec.structs.replace(with_state(key, target), revoked_at=now, revoked_by=actor.label, revoke_reason=reason)
        return KeyChange(ended, {"reason": reason})

    return await step(key_id, Action.REVOKE, actor, change, desk=KeyService(store, clock, bound_s))


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
    foreign: ImportedKeys | None = None

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
        if record is None or not proven or next_state(record.state, Action.REVOKE) is None or record.state is KeyState.REVOKED:
            return None
        now = self.clock.now()
        actor = Actor(type="key", id=record.id, request_id=request_id, source_address=source_address)
        event = actor.did(SELF_ACTION, target_type="key", target_id=record.id, at=now, details={"reason": reason})
        done = await self.revocations.revoke(record.id, at=now, by=actor.label, reason=reason, event=event)
        if done is None:
            return None
        everywhere = await self.revocations.confirmed_everywhere(done[1], timeout_s=self.bound_s)
        return done[0].id, Effective.EVERYWHERE if everywhere else Effective.WITHIN_BOUND


class RotationOptions(msgspec.Struct, frozen=True):
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
    turn: RotationOptions,
    actor: Actor,
    *,
    desk: KeyService,
    pepper: Pepper,
    prefix: str,
    random_bytes: Callable[[int], bytes],
    allow_last_admin: bool = False,
) -> Rotated:
    """Raises Conflict (not active, expired, rotated before), BadRequest (expiry), NotFound, Unavailable (try again)."""
    generation = await writing_generation(desk.store, pepper)
    made: list[tuple[str, StoredKey]] = []

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
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
        return KeyChange(previous, details, successor=successor, others_end_at=now)

    done = await step(key_id, Action.ROTATE, actor, change, desk=desk, allow_last_admin=allow_last_admin)
    token, successor = made[-1]
    return Rotated(token=token, key=successor, previous=done.key, effective=done.effective)


async def end_grace(key_id: KeyId, reason: str, actor: Actor, *, desk: KeyService) -> Changed:
    """Ends the grace period of a rotated key now. Raises Conflict for a key that was not rotated or has ended already."""

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        if key.successor_id is None:
            raise Conflict("This key was not rotated, so there is no grace period to end; rotate it first, or revoke it")
        if key.record.expires_at is not None and key.record.expires_at <= now:
            raise Conflict("The grace period of this key has ended already")
        ended = msgspec.structs.replace(key, record=msgspec.structs.replace(key.record, expires_at=now))
        return KeyChange(ended, {"reason": reason, "successor_id": key.successor_id})

    return await step(key_id, Action.END_GRACE, actor, change, desk=desk)


def _check_turn(key: StoredKey, now: float) -> None:
    if key.successor_id is not None:
        raise Conflict(f"This key was rotated before; rotate its successor {key.successor_id}")
    if key.record.expires_at is not None and key.record.expires_at <= now:
        raise Conflict("This key has expired; make a new one")


def _successor(key: StoredKey, turn: RotationOptions, now: float, actor: Actor) -> StoredKey:
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


_NOTHING = bytes(32)


class Purged(msgspec.Struct, frozen=True):
    """counters_removed False: another generation still counts with them, or Redis was away and they end by themselves."""

    key_id: KeyId
    purged_at: float
    effective: Effective
    counters_removed: bool


async def purge(key_id: KeyId, confirm: str, reason: str, actor: Actor, *, desk: KeyService, counters: Counters | None) -> Purged:
    """`confirm` must repeat the id. Raises BadRequest, NotFound, Conflict (neither deleted nor revoked), Unavailable."""
    if confirm != key_id:
        problem = Problem("body.confirm", "is not the id of this key", "repeat the id: there is no way back from a purge")
        raise BadRequest("A purge has to be confirmed", errors=(problem,))

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        details: Details = {"reason": reason, "lineage_id": key.record.subject, "generation": key.generation}
        return KeyChange(_tombstone(key, now), details)

    done = await step(key_id, Action.PURGE, actor, change, desk=desk)
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
