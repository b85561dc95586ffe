"""Defines the life cycle of a key: the actions that are possible in each state, the result of an
action, and the expiry rules. Pure.

Every action on a key is checked against the table of transitions. An action without a row for the
current state is rejected. An idempotent action that leads to the current state writes nothing.
"""

from enum import StrEnum
from typing import Self

import msgspec
from msgspec import UNSET

from gatehouse.core import customers
from gatehouse.core.audit_events import AuditAction, Details, change_details, detail
from gatehouse.core.customers import BOTH
from gatehouse.core.errors import BadRequest, Conflict, Problem
from gatehouse.core.key_fields import Purge
from gatehouse.core.keys import (
    KEY_FIELDS,
    Key,
    KeyChange,
    KeyFields,
    KeyState,
    RateLimit,
    key_fields,
)
from gatehouse.core.tokens.token import NULL_DIGEST

#: Maximum time, in seconds, until a key expires: ten years.
TTL_S_MAX = 10 * 365 * 86_400

#: Default grace period of a rotated key.
GRACE_S_DEFAULT = 86_400
GRACE_S_MAX = 30 * 86_400

#: Maximum number of keys in a family, which a rotation locks: more than a year of hourly rotations.
GENERATIONS_MAX = 10_000

#: Period in which a deleted key can be restored. Long enough to notice that a monthly job fails.
RESTORE_WINDOW_S = 30 * 86_400


class Action(StrEnum):
    """Actions on a key. The value is the second part of the audit action."""

    audit_action: AuditAction

    def __new__(cls, action: str) -> Self:
        value = action.partition(".")[2]
        member = str.__new__(cls, value)
        member._value_ = value
        member.audit_action = AuditAction(action)
        return member

    UPDATE = AuditAction.KEY_UPDATE
    DISABLE = AuditAction.KEY_DISABLE
    ENABLE = AuditAction.KEY_ENABLE
    ROTATE = AuditAction.KEY_ROTATE
    REVOKE = AuditAction.KEY_REVOKE
    DELETE = AuditAction.KEY_DELETE
    RESTORE = AuditAction.KEY_RESTORE
    PURGE = AuditAction.KEY_PURGE


_ACTIVE, _DISABLED, _REVOKED = KeyState.ACTIVE, KeyState.DISABLED, KeyState.REVOKED
_DELETED, _PURGED = KeyState.DELETED, KeyState.PURGED

#: (state, action) -> possible next states. Only the action `restore` has several next states,
#: because it returns to the state before the deletion.
TRANSITIONS: dict[tuple[KeyState, Action], tuple[KeyState, ...]] = {
    (_ACTIVE, Action.UPDATE): (_ACTIVE,),
    (_ACTIVE, Action.ENABLE): (_ACTIVE,),
    (_ACTIVE, Action.DISABLE): (_DISABLED,),
    (_ACTIVE, Action.ROTATE): (_ACTIVE,),
    (_ACTIVE, Action.REVOKE): (_REVOKED,),
    (_ACTIVE, Action.DELETE): (_DELETED,),
    (_DISABLED, Action.UPDATE): (_DISABLED,),
    (_DISABLED, Action.DISABLE): (_DISABLED,),
    (_DISABLED, Action.ENABLE): (_ACTIVE,),
    (_DISABLED, Action.REVOKE): (_REVOKED,),
    (_DISABLED, Action.DELETE): (_DELETED,),
    (_REVOKED, Action.REVOKE): (_REVOKED,),
    (_REVOKED, Action.DELETE): (_DELETED,),
    (_REVOKED, Action.PURGE): (_PURGED,),
    (_DELETED, Action.DELETE): (_DELETED,),
    (_DELETED, Action.RESTORE): (_ACTIVE, _DISABLED, _REVOKED),
    (_DELETED, Action.PURGE): (_PURGED,),
    (_PURGED, Action.PURGE): (_PURGED,),
}

IDEMPOTENT = frozenset({Action.DISABLE, Action.ENABLE, Action.REVOKE, Action.DELETE, Action.PURGE})

_REMEDIES: dict[KeyState, str] = {
    KeyState.ACTIVE: "delete or revoke the key first",
    KeyState.DISABLED: "enable the key first, or delete or revoke it",
    KeyState.REVOKED: "create a new key; a revoked key cannot be used again",
    KeyState.DELETED: "restore the key first",
    KeyState.PURGED: "create a new key; the data of this key was erased",
}


def next_state(
    state: KeyState, action: Action, state_before: KeyState | None = None
) -> KeyState | None:
    """State after `action`, or None if the action is not possible. `state_before`: state of a
    deleted key before its deletion.
    """
    targets = TRANSITIONS.get((state, action), ())
    if action is Action.RESTORE:
        return state_before if state_before in targets else None
    return targets[0] if targets else None


def is_repeat(state: KeyState, action: Action) -> bool:
    """True if an idempotent action was already performed, in which case nothing is written."""
    return action in IDEMPOTENT and TRANSITIONS.get((state, action)) == (state,)


def rejection(state: KeyState, action: Action) -> str:
    """Error message for an action that is not possible, with a fix."""
    past_participle = action.value + ("d" if action.value.endswith("e") else "ed")
    usable = state in (KeyState.ACTIVE, KeyState.DISABLED)
    remedy = (
        "only deleted keys can be restored"
        if usable and action is Action.RESTORE
        else _REMEDIES[state]
    )
    return f"The key is {state.value} and cannot be {past_participle}: {remedy}"


#: Fields whose values the audit trail records.
_RECORDED = frozenset(key_fields(audit="value"))


def patched(key: Key, patch: KeyFields, default_limit: RateLimit) -> KeyChange:
    """Result of an update. Raises BadRequest if the key has no credits that could be changed, or if
    it would have both a customer and a plan.
    """
    customer, plan = (patch.get(name, getattr(key, name)) for name in ("customer_id", "plan"))
    if customer and plan:
        fix = 'send null for one of them: "plan": null'
        raise BadRequest(errors=(Problem("body", f"is not possible: {BOTH}", fix),))
    fields = customers.inheriting(
        patch, follows=bool(customer or plan), inherits=key.inherits, default=default_limit
    )
    credits = patch.get("credits", UNSET)
    fields.pop("credits", None)
    if credits is not UNSET:
        fields["has_credits"] = credits is not None
        if credits is not None and key.credits is None and credits.remaining is UNSET:
            problem = Problem("body.credits", "changes a key without credits", "send `remaining`")
            raise BadRequest("The key has no credits.", errors=(problem,))
    changed = msgspec.structs.replace(key, **fields)
    customers.check_customer(changed)
    return KeyChange(changed, change_details(key, patch, _RECORDED), credits=credits)


def state_change(
    key: Key, action: Action, state: KeyState, now: float, *, by: str, reason: str
) -> KeyChange:
    """Result of an action whose only parameter is a reason. `state`: next state of the key. `by`:
    label of the actor.

    Raises Conflict if the restore window has ended.
    """
    replace = msgspec.structs.replace
    if action is Action.REVOKE:
        return KeyChange(
            replace(key, state=state, revoked_at=now, revoked_by=by, revoke_reason=reason),
            {"reason": reason},
        )
    if action is Action.DELETE:
        deleted = replace(key, state=state, state_before=key.state, deleted_at=now, deleted_by=by)
        return KeyChange(deleted, {"reason": reason, "state_before": key.state.value})
    if action is Action.RESTORE:
        if key.deleted_at is not None and now > key.deleted_at + RESTORE_WINDOW_S:
            raise Conflict(
                f"The key was deleted more than {RESTORE_WINDOW_S // 86_400} days ago; create "
                f"a new key."
            )
        restored = replace(key, state=state, state_before=None, deleted_at=None, deleted_by=None)
        return KeyChange(restored, {"reason": reason, "state": state.value})
    return KeyChange(replace(key, state=state), {"reason": reason})


def tombstone(key: Key, now: float) -> Key:
    """The row of a purged key, which keeps the ID reserved."""
    erased = {
        name: field.purged
        for name, field in KEY_FIELDS.items()
        if not isinstance(field.purged, Purge)
    }
    times = {"created_at": now, "purged_at": now}
    return msgspec.structs.replace(
        key, **erased, **times, state=KeyState.PURGED, digest=NULL_DIGEST
    )


def creation_details(key: Key) -> Details:
    return {name: detail(getattr(key, name)) for name in _RECORDED}


def check_expiry(expires_at: float | None, now: float) -> None:
    """Raises BadRequest if the expiry is in the past or more than TTL_S_MAX seconds in the future.
    None: the key does not expire."""
    if expires_at is None:
        return
    if expires_at <= now:
        raise _bad_expiry("is in the past", "send a later time")
    if expires_at > now + TTL_S_MAX:
        raise _bad_expiry(
            "is more than ten years in the future",
            "send an earlier time, and rotate the key before it expires",
        )


def check_rotated_expiry(key: Key, expires_at: float | None, now: float) -> None:
    """Like `check_expiry`. Also raises BadRequest if the expiry of a rotated key is extended."""
    check_expiry(expires_at, now)
    if (
        key.successor_id is not None
        and key.expires_at is not None
        and (expires_at is None or expires_at > key.expires_at)
    ):
        problem = Problem(
            "body.expires_at",
            "is later than the end of the grace period",
            "let clients use the successor",
        )
        raise BadRequest("The lifetime of a rotated key cannot be extended.", errors=(problem,))


def check_rotatable(key: Key, now: float) -> None:
    """Raises Conflict if the key has already been rotated or has expired, or its family has
    GENERATIONS_MAX keys.
    """
    if key.successor_id is not None:
        raise Conflict(
            f"The key has already been rotated; rotate its successor {key.successor_id}."
        )
    if key.expires_at is not None and key.expires_at <= now:
        raise Conflict("The key has expired; create a new key.")
    if key.generation >= GENERATIONS_MAX:
        raise Conflict(f"The key has been rotated {GENERATIONS_MAX - 1} times; create a new key.")


def successor(key: Key, now: float, created_by: str) -> Key:
    """A copy of the key with the same lifetime and the next generation number. The caller sets the
    ID and the fields that depend on the token. Raises BadRequest if the expiry is not allowed."""
    expires_at = key.expires_at
    if expires_at is not None:
        expires_at = now + min(expires_at - key.created_at, TTL_S_MAX)
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


def _bad_expiry(message: str, fix: str) -> BadRequest:
    return BadRequest(
        "This expiry is not allowed.", errors=(Problem("body.expires_at", message, fix),)
    )
