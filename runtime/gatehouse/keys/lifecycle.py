"""Life cycle of a key as one table: the actions possible in each state and the states they lead to. Pure.

Every change of a key consults the table, and docs/key-lifecycle.md is generated from it. An action without a row for the current
state is rejected. An idempotent action that leads to the current state writes nothing.
"""

from __future__ import annotations

from enum import StrEnum

from gatehouse.keys.models import KeyState

#: Longest lifetime of a key: ten years.
TTL_S_MAX = 10 * 365 * 86_400

#: Grace period of a rotated key.
GRACE_S_DEFAULT = 86_400
GRACE_S_MAX = 30 * 86_400

#: Period in which a deleted key can be restored: long enough to notice that a monthly job fails.
RESTORE_WINDOW_S = 30 * 86_400


class Action(StrEnum):
    """Actions on a key. The audit action is `key.<value>`."""

    CREATE = "create"
    UPDATE = "update"
    DISABLE = "disable"
    ENABLE = "enable"
    ROTATE = "rotate"
    END_GRACE_PERIOD = "end-grace"
    REVOKE = "revoke"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"


_ACTIVE, _DISABLED, _REVOKED = KeyState.ACTIVE, KeyState.DISABLED, KeyState.REVOKED
_DELETED, _PURGED = KeyState.DELETED, KeyState.PURGED

#: (state, action) -> possible next states. Only a restore has several: it returns to the state before the deletion.
TRANSITIONS: dict[tuple[KeyState, Action], tuple[KeyState, ...]] = {
    (_ACTIVE, Action.UPDATE): (_ACTIVE,),
    (_ACTIVE, Action.ENABLE): (_ACTIVE,),
    (_ACTIVE, Action.DISABLE): (_DISABLED,),
    (_ACTIVE, Action.ROTATE): (_ACTIVE,),
    (_ACTIVE, Action.END_GRACE_PERIOD): (_ACTIVE,),
    (_ACTIVE, Action.REVOKE): (_REVOKED,),
    (_ACTIVE, Action.DELETE): (_DELETED,),
    (_DISABLED, Action.UPDATE): (_DISABLED,),
    (_DISABLED, Action.DISABLE): (_DISABLED,),
    (_DISABLED, Action.ENABLE): (_ACTIVE,),
    (_DISABLED, Action.END_GRACE_PERIOD): (_DISABLED,),
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
    KeyState.PURGED: "create a new key; the data of this key is removed",
}

_PHRASES = {Action.END_GRACE_PERIOD: "have its grace period ended"}


def next_state(state: KeyState, action: Action, state_before: KeyState | None = None) -> KeyState | None:
    """State after `action`; None if the action is not possible. `state_before`: state of a deleted key before its deletion."""
    targets = TRANSITIONS.get((state, action), ())
    if action is Action.RESTORE:
        return state_before if state_before in targets else None
    return targets[0] if targets else None


def is_repeat(state: KeyState, action: Action) -> bool:
    """True if an idempotent action was already performed, so that nothing is written."""
    return action in IDEMPOTENT and TRANSITIONS.get((state, action)) == (state,)


def rejection(state: KeyState, action: Action) -> str:
    """Error message for an action that is not possible, with the remedy."""
    past_participle = action.value + ("d" if action.value.endswith("e") else "ed")
    return f"The key is {state.value} and cannot {_PHRASES.get(action, f'be {past_participle}')}: {_REMEDIES[state]}"


def diagram() -> str:
    """The table as a Mermaid state diagram. Actions with the same source and target share an arrow."""
    arrows: dict[tuple[KeyState, KeyState], list[str]] = {}
    for (state, action), targets in TRANSITIONS.items():
        for target in targets:
            if not (target is state and action in IDEMPOTENT):
                arrows.setdefault((state, target), []).append(action.value)
    lines = ["stateDiagram-v2", f"    [*] --> {KeyState.ACTIVE.value}: {Action.CREATE.value}"]
    lines += [f"    {state.value} --> {target.value}: {', '.join(actions)}" for (state, target), actions in arrows.items()]
    return "\n".join([*lines, f"    {KeyState.PURGED.value} --> [*]"])
