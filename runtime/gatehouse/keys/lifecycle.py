"""The life of a key as one table: which act is possible in which state and what it leads to; it changes nothing itself.

The flows ask it before every change, and docs/key-lifecycle.md is drawn from it. An act that is not in the table for a state is
refused. Where it leads to the state in which the key is already, and is one of `REPEATABLE`, nothing is written."""

from __future__ import annotations

from enum import StrEnum

from gatehouse.keys.models import KeyState

#: How long a rotated key works on beside its successor.
GRACE_S_DEFAULT = 86_400


GRACE_S_MAX = 30 * 86_400


#: How long a deleted key can be restored: long enough for the monthly job that nobody thought of.
RESTORE_WINDOW_S = 30 * 86_400


class Action(StrEnum):
    """What can be done to a key. The value is the second half of the action in the audit trail (`key.disable`)."""

    CREATE = "create"
    UPDATE = "update"
    DISABLE = "disable"
    ENABLE = "enable"
    ROTATE = "rotate"
    END_GRACE = "end-grace"
    REVOKE = "revoke"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"


_ACTIVE, _DISABLED, _REVOKED = KeyState.ACTIVE, KeyState.DISABLED, KeyState.REVOKED


_DELETED, _PURGED = KeyState.DELETED, KeyState.PURGED


#: (state, act) -> the states that it can lead to. Several only for a restore, which leads back to where the key was.
TRANSITIONS: dict[tuple[KeyState, Action], tuple[KeyState, ...]] = {
    (_ACTIVE, Action.UPDATE): (_ACTIVE,),
    (_ACTIVE, Action.ENABLE): (_ACTIVE,),
    (_ACTIVE, Action.DISABLE): (_DISABLED,),
    (_ACTIVE, Action.ROTATE): (_ACTIVE,),
    (_ACTIVE, Action.END_GRACE): (_ACTIVE,),
    (_ACTIVE, Action.REVOKE): (_REVOKED,),
    (_ACTIVE, Action.DELETE): (_DELETED,),
    (_DISABLED, Action.UPDATE): (_DISABLED,),
    (_DISABLED, Action.DISABLE): (_DISABLED,),
    (_DISABLED, Action.ENABLE): (_ACTIVE,),
    (_DISABLED, Action.END_GRACE): (_DISABLED,),
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


#: Doing it again is no error and changes nothing: the state is what was asked for.
REPEATABLE = frozenset({Action.DISABLE, Action.ENABLE, Action.REVOKE, Action.DELETE, Action.PURGE})


#: What to do instead, where an act is refused.
_INSTEAD: dict[KeyState, str] = {
    KeyState.ACTIVE: "delete or revoke it first",
    KeyState.DISABLED: "enable it first, or delete or revoke it",
    KeyState.REVOKED: "a revoked key is never usable again; make a new one",
    KeyState.DELETED: "restore it first",
    KeyState.PURGED: "nothing is left of it; make a new one",
}


def next_state(state: KeyState, act: Action, before: KeyState | None = None) -> KeyState | None:
    """Where `act` leads from `state`, None when it is not possible there. `before`: what a deleted key was."""
    targets = TRANSITIONS.get((state, act), ())
    if act is Action.RESTORE:
        return before if before in targets else None
    return targets[0] if targets else None


def is_repeat(state: KeyState, act: Action) -> bool:
    """True when the act was done already: answer with the key as it is, write nothing."""
    return act in REPEATABLE and TRANSITIONS.get((state, act)) == (state,)


def refusal(state: KeyState, act: Action) -> str:
    """Why an act is not possible and what to do, for the one who asked."""
    return f"A key that is {state.value} cannot {_VERBS.get(act, f'be {act.value}d')}: {_INSTEAD[state]}"


_VERBS = {Action.END_GRACE: "have its grace period ended", Action.DELETE: "be deleted"}


def diagram() -> str:
    """The table as a Mermaid state diagram, acts that lead from and to the same states on one arrow."""
    arrows: dict[tuple[KeyState, KeyState], list[str]] = {}
    for (state, act), targets in TRANSITIONS.items():
        for target in targets:
            if not (target is state and act in REPEATABLE):
                arrows.setdefault((state, target), []).append(act.value)
    lines = ["stateDiagram-v2", f"    [*] --> {KeyState.ACTIVE.value}: {Action.CREATE.value}"]
    lines += [f"    {state.value} --> {target.value}: {', '.join(acts)}" for (state, target), acts in arrows.items()]
    return "\n".join([*lines, f"    {KeyState.PURGED.value} --> [*]"])
