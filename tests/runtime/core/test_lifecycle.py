"""Key lifecycle."""

import pytest
from gatehouse.core.keys import KeyState
from gatehouse.core.lifecycle import (
    IDEMPOTENT,
    TRANSITIONS,
    Action,
    is_repeat,
    next_state,
    rejection,
)
from hypothesis import given
from hypothesis import strategies as st

action_lists = st.lists(st.sampled_from(Action), max_size=30)
USABLE = {KeyState.ACTIVE}


def walk(actions: list[Action]) -> list[KeyState]:
    state, before, states = KeyState.ACTIVE, None, [KeyState.ACTIVE]
    for action in actions:
        if is_repeat(state, action):
            continue
        after = next_state(state, action, before)
        if after is None:
            continue
        before = state if action is Action.DELETE else None
        state = after
        states.append(state)
    return states


@given(action_lists)
def test_final_states_are_never_left(actions: list[Action]) -> None:
    states = walk(actions)
    if KeyState.REVOKED in states:
        assert not USABLE & set(states[states.index(KeyState.REVOKED) :])
    if KeyState.PURGED in states:
        assert set(states[states.index(KeyState.PURGED) :]) == {KeyState.PURGED}


@given(action_lists)
def test_restore_returns_to_previous_state(actions: list[Action]) -> None:
    states = walk([*actions, Action.DELETE, Action.RESTORE])
    states_before = walk(actions)
    if states_before[-1] not in {KeyState.PURGED, KeyState.DELETED}:
        assert states[-1] is states_before[-1]


@given(action_lists)
def test_only_deleted_or_revoked_key_is_purged(actions: list[Action]) -> None:
    states = walk(actions)
    if KeyState.PURGED in states:
        assert states[states.index(KeyState.PURGED) - 1] in {KeyState.DELETED, KeyState.REVOKED}


@pytest.mark.parametrize("state", KeyState)
@pytest.mark.parametrize("action", Action)
def test_impossible_action_has_a_message(state: KeyState, action: Action) -> None:
    if (state, action) not in TRANSITIONS:
        assert next_state(state, action, KeyState.ACTIVE) is None
        assert rejection(state, action).startswith(f"The key is {state.value} and cannot ")


@pytest.mark.parametrize("action", sorted(IDEMPOTENT))
def test_idempotent_action_is_a_repeat_in_its_target(action: Action) -> None:
    targets = {
        target for (_, item), result in TRANSITIONS.items() if item is action for target in result
    }
    assert all(is_repeat(target, action) for target in targets)
