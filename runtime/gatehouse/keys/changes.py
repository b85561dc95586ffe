"""The key that an action results in, and the details of its audit event; rules of expiry and rotation. Pure."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.audit.models import Details
from gatehouse.crypto.token import NULL_DIGEST
from gatehouse.errors import BadRequest, Conflict, Problem
from gatehouse.keys.lifecycle import RESTORE_WINDOW_S, TTL_S_MAX, Action
from gatehouse.keys.models import CreditPlan, Key, KeyPatch, KeyState, NewKey, RateLimit, RotationOptions, granted

#: Fields that KeyPatch shares with Key and that are copied unchanged.
_PATCHED = tuple(name for name in KeyPatch.__struct_fields__ if name in Key.__struct_fields__ and name != "scopes")

#: Free-text fields: the audit trail records that they changed, not their values.
_UNRECORDED = frozenset({"metadata", "notes"})

#: Fields that the event of a creation records as they are.
_RECORDED = tuple(
    name for name in NewKey.__struct_fields__ if name in Key.__struct_fields__ and name not in {*_UNRECORDED, "tags", "credits"}
)


def patched(key: Key, patch: KeyPatch) -> Key:
    """The key with the changes of a patch. Raises BadRequest if it requires signatures without a signing key."""
    changes = {name: value for name in _PATCHED if (value := getattr(patch, name)) is not UNSET}
    own_scopes = key.own_scopes if isinstance(patch.scopes, UnsetType) else patch.scopes
    changed = msgspec.structs.replace(key, **changes, own_scopes=own_scopes)
    signing = key.signing
    if not isinstance(patch.require_signature, UnsetType):
        if signing is None and patch.require_signature:
            problem = Problem("body.require_signature", "requires a signing key", "set one first: PUT /v1/keys/{id}/signing")
            raise BadRequest("The key has no signing key", errors=(problem,))
        signing = signing and msgspec.structs.replace(signing, required=patch.require_signature)
    return msgspec.structs.replace(
        changed, scopes=granted(own_scopes, changed.roles), has_credits=changed.credits is not None, signing=signing
    )


class KeyChange(msgspec.Struct, frozen=True):
    """Result of an action on a key, and the details that its audit event records. See `KeyUpdate` for the other fields."""

    key: Key
    details: Details
    successor: Key | None = None
    others_end_at: float | None = None


def state_change(key: Key, action: Action, state: KeyState, now: float, *, by: str, reason: str) -> KeyChange:
    """Result of an action that needs nothing but a reason. `state`: next state of the key. `by`: label of the actor.

    Raises Conflict if the grace period or the restore window has ended.
    """
    replace = msgspec.structs.replace
    if action is Action.REVOKE:
        return KeyChange(replace(key, state=state, revoked_at=now, revoked_by=by, revoke_reason=reason), {"reason": reason})
    if action is Action.DELETE:
        deleted = replace(key, state=state, state_before=key.state, deleted_at=now, deleted_by=by)
        return KeyChange(deleted, {"reason": reason, "state_before": key.state.value})
    if action is Action.RESTORE:
        if key.deleted_at is not None and now > key.deleted_at + RESTORE_WINDOW_S:
            raise Conflict(f"The key was deleted more than {RESTORE_WINDOW_S // 86_400} days ago; create a new key")
        restored = replace(key, state=state, state_before=None, deleted_at=None, deleted_by=None)
        return KeyChange(restored, {"reason": reason, "state": state.value})
    if action is Action.END_GRACE_PERIOD:
        if key.successor_id is None:
            raise Conflict("The key was not rotated, so it has no grace period; rotate or revoke it")
        if key.expires_at is not None and key.expires_at <= now:
            raise Conflict("The grace period of the key has already ended")
        return KeyChange(replace(key, expires_at=now), {"reason": reason, "successor_id": key.successor_id})
    return KeyChange(replace(key, state=state), {"reason": reason})


def tombstone(key: Key, now: float) -> Key:
    """An empty row that keeps the id reserved. Fields that are not listed get their default."""
    return Key(
        id=key.id,
        digest=NULL_DIGEST,
        pepper_generation=key.pepper_generation,
        environment=key.environment,
        state=KeyState.PURGED,
        name="",
        owner="",
        scopes=(),
        cores=(),
        limits=(),
        expires_at=None,
        version=key.version,
        family_id=key.family_id,
        scheme=key.scheme,
        created_at=now,
        created_by="",
        generation=key.generation,
        purged_at=now,
    )


def creation_details(key: Key) -> Details:
    return {
        **{name: _detail(name, getattr(key, name)) for name in _RECORDED},
        "scopes": list(key.own_scopes),
        "credits": None if key.credits is None else key.credits.remaining,
        "pepper_generation": key.pepper_generation,
    }


def patch_details(key: Key, patch: KeyPatch) -> Details:
    """Names of the changed fields, and the new values of those that a verification depends on."""
    names = sorted(name for name in patch.__struct_fields__ if getattr(patch, name) is not UNSET)
    values = {name: _detail(name, getattr(patch, name)) for name in names if name not in _UNRECORDED}
    return {"changed": list(names), "version": key.version, **values}


def _detail(name: str, value: Any) -> Any:
    if name == "limits":
        return _limit_texts(value)
    if isinstance(value, CreditPlan):
        refill = f", {value.refill_amount} every {value.refill_every}" if value.refill_every else ""
        return f"{value.remaining}{refill}"
    return list(value) if isinstance(value, tuple) else value


def _limit_texts(limits: tuple[RateLimit, ...]) -> list[str]:
    return [
        f"{limit.name}:{limit.quota}/{limit.window_s}s burst {limit.burst}" + (f" cost {limit.cost}" if limit.cost != 1 else "")
        for limit in limits
    ]


def check_expiry(expires_at: float | None, now: float) -> None:
    """Raises BadRequest if the time is in the past or more than TTL_S_MAX ahead. None: the key does not expire."""
    if expires_at is None:
        return
    if expires_at <= now:
        raise _bad_expiry("is in the past", "send a later time")
    if expires_at > now + TTL_S_MAX:
        raise _bad_expiry("is more than ten years ahead", "send an earlier time, and rotate the key before it expires")


def check_rotated_expiry(key: Key, expires_at: float | None, now: float) -> None:
    """Like `check_expiry`; the expiry of a rotated key cannot be extended either."""
    check_expiry(expires_at, now)
    if key.successor_id is not None and key.expires_at is not None and (expires_at is None or expires_at > key.expires_at):
        problem = Problem("body.expires_at", "is later than the end of the grace period", "let clients use the successor")
        raise BadRequest("The lifetime of a rotated key cannot be extended", errors=(problem,))


def check_rotatable(key: Key, now: float) -> None:
    """Raises Conflict if the key was rotated before or has expired."""
    if key.successor_id is not None:
        raise Conflict(f"The key was rotated before; rotate its successor {key.successor_id}")
    if key.expires_at is not None and key.expires_at <= now:
        raise Conflict("The key has expired; create a new one")


def end_of_grace_period(key: Key, options: RotationOptions, now: float) -> float:
    ends_at = now + options.grace_s
    return ends_at if key.expires_at is None else min(ends_at, key.expires_at)


def successor(key: Key, options: RotationOptions, now: float, created_by: str) -> Key:
    """A copy of the key with its own lifetime. The caller sets id and digest. Raises BadRequest (expiry)."""
    expires_at = options.expires_at
    if options.ttl_s is not None:
        expires_at = now + options.ttl_s
    elif expires_at is None and key.expires_at is not None:
        expires_at = min(now + (key.expires_at - key.created_at), now + TTL_S_MAX)
    check_expiry(expires_at, now)
    return msgspec.structs.replace(
        key,
        expires_at=expires_at,
        version=1,
        created_at=now,
        created_by=created_by,
        generation=key.generation + 1,
        last_used_at=None,
    )


def expires_no_earlier(key: Key, other: Key) -> bool:
    """True if the key does not expire before the other one."""
    return _end(key) >= _end(other)


def _end(key: Key) -> float:
    return math.inf if key.expires_at is None else key.expires_at


def _bad_expiry(message: str, fix: str) -> BadRequest:
    return BadRequest("This expiry is not allowed", errors=(Problem("body.expires_at", message, fix),))
