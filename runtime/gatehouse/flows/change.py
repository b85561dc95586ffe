"""Changing a key while it lives: update, disable, enable, delete with a way back, restore."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.core.lifecycle import RESTORE_WINDOW_S, Act
from gatehouse.core.roles import granted
from gatehouse.errors import BadRequest, Conflict, PreconditionFailed, Problem
from gatehouse.flows.actor import Actor, Details
from gatehouse.flows.issue import check_expiry, limit_texts
from gatehouse.flows.step import Change, Changed, Desk, Draft, step, with_state
from gatehouse.store.ports import StoredKey
from gatehouse.types import CreditPlan, KeyId, KeyState, Limit, Signing

_RECORD = ("name", "owner", "cores", "methods", "addresses", "limits", "expires_at")
_BESIDE = ("tags", "metadata", "notes")
#: Told to the audit trail by name alone: free text, which people paste things into.
_UNTOLD = frozenset({"metadata", "notes"})


class Wishes(msgspec.Struct, frozen=True):
    """What shall be different. UNSET stays as it is. `expires_at` None: no end. `credits` None: nothing is counted."""

    name: str | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    scopes: tuple[str, ...] | UnsetType = UNSET
    roles: tuple[str, ...] | UnsetType = UNSET
    cores: tuple[str, ...] | UnsetType = UNSET
    methods: tuple[str, ...] | UnsetType = UNSET
    addresses: tuple[str, ...] | UnsetType = UNSET
    limits: tuple[Limit, ...] | UnsetType = UNSET
    expires_at: float | UnsetType | None = UNSET
    credits: CreditPlan | UnsetType | None = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    notes: str | UnsetType = UNSET
    require_signature: bool | UnsetType = UNSET


async def change_key(
    key_id: KeyId, wishes: Wishes, actor: Actor, *, desk: Desk, version: int | None, allow_last_admin: bool = False
) -> Changed:
    """Updates. `version`: the one that was read; None: whatever it is now.

    Raises PreconditionFailed when it has changed since, BadRequest (expiry), and what `step` raises.
    """

    def change(key: StoredKey, target: KeyState, now: float) -> Draft:
        if version is not None and version != key.record.version:
            raise PreconditionFailed(f"The key is at version {key.record.version} now; read it again and decide anew")
        if not isinstance(wishes.expires_at, UnsetType):
            _check_new_expiry(key, wishes.expires_at, now)
        after = _changed(key, wishes)
        return Draft(after, _told(key, after, wishes))

    return await step(key_id, Act.UPDATE, actor, change, desk=desk, allow_last_admin=allow_last_admin)


async def disable(key_id: KeyId, reason: str, actor: Actor, *, desk: Desk, allow_last_admin: bool = False) -> Changed:
    """Refuses the key until it is enabled again."""
    return await step(key_id, Act.DISABLE, actor, _to(reason), desk=desk, allow_last_admin=allow_last_admin)


async def enable(key_id: KeyId, reason: str, actor: Actor, *, desk: Desk) -> Changed:
    return await step(key_id, Act.ENABLE, actor, _to(reason), desk=desk)


async def delete(key_id: KeyId, reason: str, actor: Actor, *, desk: Desk, allow_last_admin: bool = False) -> Changed:
    """Takes the key out of use; `restore` leads back within RESTORE_WINDOW_S."""

    def change(key: StoredKey, target: KeyState, now: float) -> Draft:
        gone = msgspec.structs.replace(
            with_state(key, target), state_before=key.record.state, deleted_at=now, deleted_by=actor.label
        )
        return Draft(gone, {"reason": reason, "state_before": key.record.state.value})

    return await step(key_id, Act.DELETE, actor, change, desk=desk, allow_last_admin=allow_last_admin)


async def restore(key_id: KeyId, reason: str, actor: Actor, *, desk: Desk) -> Changed:
    """Back to the state before the deletion. Raises Conflict when the window has passed."""

    def change(key: StoredKey, target: KeyState, now: float) -> Draft:
        if key.deleted_at is not None and now > key.deleted_at + RESTORE_WINDOW_S:
            raise Conflict(f"It was deleted more than {RESTORE_WINDOW_S // 86_400} days ago; make a new key")
        back = msgspec.structs.replace(with_state(key, target), state_before=None, deleted_at=None, deleted_by=None)
        return Draft(back, {"reason": reason, "state": target.value})

    return await step(key_id, Act.RESTORE, actor, change, desk=desk)


def _to(reason: str) -> Change:
    def change(key: StoredKey, target: KeyState, now: float) -> Draft:
        return Draft(with_state(key, target), {"reason": reason})

    return change


def _changed(key: StoredKey, wishes: Wishes) -> StoredKey:
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


def _set(wishes: Wishes, names: tuple[str, ...]) -> dict[str, object]:
    return {name: value for name in names if (value := getattr(wishes, name)) is not UNSET}


def _check_new_expiry(key: StoredKey, expires_at: float | None, now: float) -> None:
    check_expiry(expires_at, now)
    end = key.record.expires_at
    if key.successor_id is not None and end is not None and (expires_at is None or expires_at > end):
        problem = Problem("body.expires_at", "is later than the end of the grace period", "let clients use the successor")
        raise BadRequest("A key that was rotated does not live longer", errors=(problem,))


def _told(before: StoredKey, after: StoredKey, wishes: Wishes) -> Details:
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
