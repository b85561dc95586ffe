"""Key lifecycle."""

from typing import Any

import msgspec
import pytest
from gatehouse.core.errors import BadRequest, Conflict
from gatehouse.core.keys import Key, KeyId, KeyState
from gatehouse.core.lifecycle import (
    GENERATIONS_MAX,
    IDEMPOTENT,
    RESTORE_WINDOW_S,
    TRANSITIONS,
    TTL_S_MAX,
    Action,
    check_expiry,
    check_rotatable,
    check_rotated_expiry,
    is_repeat,
    next_state,
    rejection,
    state_change,
    successor,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.key_records import RECORD

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


NOW = 1_800_000_000.0
KEY = Key(**msgspec.structs.asdict(RECORD), created_at=NOW - 60, created_by="a")


@pytest.mark.parametrize(
    ("expires_at", "is_allowed"),
    [
        (None, True),
        (NOW, False),
        (NOW + 1, True),
        (NOW + TTL_S_MAX, True),
        (NOW + TTL_S_MAX + 1, False),
    ],
)
def test_expiry_is_in_the_next_ten_years(expires_at: float | None, *, is_allowed: bool) -> None:
    if is_allowed:
        check_expiry(expires_at, NOW)
    else:
        with pytest.raises(BadRequest):
            check_expiry(expires_at, NOW)


@pytest.mark.parametrize("late_s", [0, 1])
def test_key_is_restored_until_the_end_of_the_window(late_s: int) -> None:
    deleted_at = NOW - RESTORE_WINDOW_S - late_s
    key = msgspec.structs.replace(KEY, state=KeyState.DELETED, deleted_at=deleted_at)
    by: Any = {"by": "a", "reason": "r"}
    if late_s:
        with pytest.raises(Conflict):
            state_change(key, Action.RESTORE, KeyState.DISABLED, NOW, **by)
    else:
        restored = state_change(key, Action.RESTORE, KeyState.DISABLED, NOW, **by).key
        assert (restored.state, restored.deleted_at) == (KeyState.DISABLED, None)


@pytest.mark.parametrize(
    ("fields", "is_rotatable"),
    [
        ({}, True),
        ({"expires_at": NOW + 1}, True),
        ({"expires_at": NOW}, False),
        ({"successor_id": KeyId("another")}, False),
        ({"generation": GENERATIONS_MAX - 1}, True),
        ({"generation": GENERATIONS_MAX}, False),
    ],
)
def test_newest_valid_key_of_a_family_is_rotated(
    fields: dict[str, Any], *, is_rotatable: bool
) -> None:
    key = msgspec.structs.replace(KEY, **fields)
    if is_rotatable:
        check_rotatable(key, NOW)
    else:
        with pytest.raises(Conflict):
            check_rotatable(key, NOW)


def test_grace_period_is_not_extended() -> None:
    rotated = msgspec.structs.replace(KEY, successor_id=KeyId("another"), expires_at=NOW + 60)
    check_rotated_expiry(rotated, NOW + 60, NOW)
    check_rotated_expiry(KEY, NOW + 61, NOW)
    for expires_at in (NOW + 61, None):
        with pytest.raises(BadRequest):
            check_rotated_expiry(rotated, expires_at, NOW)


@pytest.mark.parametrize(
    ("lifetime_s", "left_s"), [(None, None), (120, 120), (TTL_S_MAX + 60, TTL_S_MAX)]
)
def test_successor_has_the_lifetime_of_its_key(
    lifetime_s: float | None, left_s: float | None
) -> None:
    expires_at = None if lifetime_s is None else KEY.created_at + lifetime_s
    new = successor(msgspec.structs.replace(KEY, expires_at=expires_at, generation=3), NOW, "b")
    assert new.expires_at == (None if left_s is None else NOW + left_s)
    assert (new.generation, new.created_at, new.created_by) == (4, NOW, "b")
