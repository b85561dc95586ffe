"""Key life cycle: possible transitions and final states; scopes of roles."""

from __future__ import annotations

import pytest
from gatehouse.keys import lifecycle
from gatehouse.keys.lifecycle import IDEMPOTENT, TRANSITIONS, Action, is_repeat, next_state, rejection
from gatehouse.keys.models import KeyState, granted
from hypothesis import given
from hypothesis import strategies as st

acts = st.lists(st.sampled_from([act for act in Action if act is not Action.CREATE]), max_size=30)
USABLE = {KeyState.ACTIVE}


def walk(steps: list[Action]) -> list[KeyState]:
    """States of a new key after each action."""
    state, before, received = KeyState.ACTIVE, None, [KeyState.ACTIVE]
    for act in steps:
        if is_repeat(state, act):
            continue
        after = next_state(state, act, before)
        if after is None:
            continue
        before = state if act is Action.DELETE else None
        state = after
        received.append(state)
    return received


@given(acts)
def test_revoked_key_is_never_usable_again(steps: list[Action]) -> None:
    received = walk(steps)
    if KeyState.REVOKED in received:
        assert not USABLE & set(received[received.index(KeyState.REVOKED) :])


@given(acts)
def test_purged_key_stays_purged(steps: list[Action]) -> None:
    received = walk(steps)
    if KeyState.PURGED in received:
        assert set(received[received.index(KeyState.PURGED) :]) == {KeyState.PURGED}


@given(acts)
def test_restore_returns_to_previous_state(steps: list[Action]) -> None:
    received = walk([*steps, Action.DELETE, Action.RESTORE])
    without = walk(steps)
    if without[-1] not in {KeyState.PURGED, KeyState.DELETED}:
        assert received[-1] is without[-1]


@given(acts)
def test_only_deleted_or_revoked_key_is_purged(steps: list[Action]) -> None:
    received = walk(steps)
    if KeyState.PURGED in received:
        assert received[received.index(KeyState.PURGED) - 1] in {KeyState.DELETED, KeyState.REVOKED}


@pytest.mark.parametrize("state", KeyState)
@pytest.mark.parametrize("act", [act for act in Action if act is not Action.CREATE])
def test_impossible_action_has_a_message(state: KeyState, act: Action) -> None:
    if (state, act) not in TRANSITIONS:
        assert next_state(state, act, KeyState.ACTIVE) is None
        assert rejection(state, act).startswith(f"The key is {state.value} and cannot ")


@pytest.mark.parametrize("act", sorted(IDEMPOTENT))
def test_idempotent_action_is_a_repeat_in_its_target(act: Action) -> None:
    targets = {target for (_, item), result in TRANSITIONS.items() if item is act for target in result}
    assert all(is_repeat(target, act) for target in targets)


def test_diagram_shows_every_transition_once() -> None:
    lines = lifecycle.diagram().splitlines()
    drawn = {(line.split()[0], line.split()[2].rstrip(":")): line.partition(": ")[2].split(", ") for line in lines[2:-1]}
    requested: dict[tuple[str, str], list[str]] = {}
    for (state, act), targets in TRANSITIONS.items():
        for target in targets:
            if not (target is state and act in IDEMPOTENT):
                requested.setdefault((state.value, target.value), []).append(act.value)
    assert drawn == requested


def test_role_adds_its_scopes() -> None:
    assert granted(("a",), ("reader", "agent", "gone")) == ("a", "cores:read", "cores:register")
    assert granted(("cores:read",), ("reader",)) == ("cores:read",)
