"""Key life cycle: possible transitions, final states, and agreement of decision and explanation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from gatehouse.keys import lifecycle
from gatehouse.keys.lifecycle import IDEMPOTENT, TRANSITIONS, Action, is_repeat, next_state, rejection
from gatehouse.keys.models import KeyEnvironment, KeyId, KeyRecord, KeyState, granted
from gatehouse.verification.decision import allows, evaluate, network
from gatehouse.verification.explanation import first_failure, key_checks
from gatehouse.verification.models import Code, VerificationRequest
from hypothesis import given
from hypothesis import strategies as st

acts = st.lists(st.sampled_from([act for act in Action if act is not Action.CREATE]), max_size=30)
USABLE = {KeyState.ACTIVE}
NOW = 1_800_000_000.0


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


RECORD = KeyRecord(
    id=KeyId("abcdefghijkl"),
    digest=bytes(32),
    pepper_generation=1,
    environment=KeyEnvironment.TEST,
    state=KeyState.ACTIVE,
    name="n",
    owner="o",
    scopes=("cores:read",),
    cores=(),
    limits=(),
    expires_at=None,
    version=1,
)
records = st.builds(
    lambda **broken: msgspec.structs.replace(RECORD, **broken),
    state=st.sampled_from(KeyState),
    environment=st.sampled_from(KeyEnvironment),
    expires_at=st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
    addresses=st.sampled_from([(), ("192.0.2.0/24",), ("2001:db8::/48",)]),
    methods=st.sampled_from([(), ("GET",)]),
    cores=st.sampled_from([(), ("docs",)]),
    scopes=st.sampled_from([(), ("cores:read",), ("admin",)]),
)
questions = st.builds(
    VerificationRequest,
    scopes=st.sampled_from([(), ("cores:read",)]),
    core=st.sampled_from([None, "docs", "wiki"]),
    address=st.sampled_from(["", "192.0.2.7", "2001:db8::1", "198.51.100.1", "no address"]),
    method=st.sampled_from([None, "GET", "POST"]),
)


@given(records, questions)
def test_explanation_agrees_with_decision(record: KeyRecord, question: VerificationRequest) -> None:
    test = KeyEnvironment.TEST
    checks = key_checks(record, question, environment=test, now=NOW)
    assert first_failure(checks) == evaluate(record, question, possession=True, environment=test, now=NOW)


@pytest.mark.requirement("TR-10")
@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.7/24", None),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("localhost", None),
        ("", None),
        ("192.0.2.0/33", None),
    ],
)
def test_network_has_canonical_form(text: str, canonical: str | None) -> None:
    assert network(text) == canonical


@pytest.mark.requirement("TR-10")
@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.2.7", True),
        ("2001:db8:0:1::1", True),
        ("2001:db8:1::1", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_address_is_matched_in_both_ip_versions(address: str, allowed: bool) -> None:
    assert allows(("192.0.2.0/24", "2001:db8::/48"), address) is allowed


@pytest.mark.parametrize(
    ("broken", "question", "code"),
    [
        ({"addresses": ("192.0.2.0/24",)}, VerificationRequest(address="198.51.100.1"), Code.FORBIDDEN),
        ({"addresses": ("192.0.2.0/24",)}, VerificationRequest(address="192.0.2.1"), Code.VALID),
        ({"addresses": ("192.0.2.0/24",)}, VerificationRequest(), Code.FORBIDDEN),
        ({"methods": ("GET",)}, VerificationRequest(method="POST"), Code.FORBIDDEN),
        ({"methods": ("GET",)}, VerificationRequest(method="GET"), Code.VALID),
        ({"methods": ("GET",)}, VerificationRequest(), Code.VALID),
        ({"state": KeyState.DELETED}, VerificationRequest(), Code.REVOKED),
        ({"state": KeyState.PURGED}, VerificationRequest(), Code.REVOKED),
    ],
)
def test_broken_property_has_its_code(broken: dict[str, Any], question: VerificationRequest, code: Code) -> None:
    record = msgspec.structs.replace(RECORD, **broken)
    assert evaluate(record, question, possession=True, environment=KeyEnvironment.TEST, now=NOW) is code


def test_role_adds_its_scopes() -> None:
    assert granted(("a",), ("reader", "agent", "gone")) == ("a", "cores:read", "cores:register")
    assert granted(("cores:read",), ("reader",)) == ("cores:read",)
