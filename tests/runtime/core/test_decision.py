"""Decision on a key: one changed property per case."""

from typing import Any

import msgspec
import pytest
from gatehouse.core.decision import evaluate, evaluate_limits, for_public
from gatehouse.core.http.addresses import allows, is_address, network, parse_address
from gatehouse.core.keys import KeyEnvironment, KeyRecord, KeyState, RateLimit
from gatehouse.core.verification import (
    Code,
    RateLimitState,
    VerificationRequest,
    VerificationResult,
)
from gatehouse.features.verification.explanation import first_failure, key_checks
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.key_records import RECORD

NOW = 1_800_000_000.0
LIMIT = RateLimit(name="requests", quota=10, window_s=1, burst=10)
TEST = KeyEnvironment.TEST
Request = VerificationRequest
REQUEST = Request(scopes=("cores:read",), core="docs")

records = st.builds(
    lambda **changes: msgspec.structs.replace(RECORD, **changes),
    state=st.sampled_from(KeyState),
    environment=st.sampled_from(KeyEnvironment),
    expires_at=st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
    addresses=st.sampled_from([(), ("192.0.2.0/24",), ("2001:db8::/48",)]),
    methods=st.sampled_from([(), ("GET",)]),
    cores=st.sampled_from([(), ("docs",)]),
    scopes=st.sampled_from([(), ("cores:read",), ("admin",)]),
)
requests = st.builds(
    VerificationRequest,
    scopes=st.sampled_from([(), ("cores:read",)]),
    core=st.sampled_from([None, "docs", "wiki"]),
    address=st.sampled_from(["", "192.0.2.7", "2001:db8::1", "198.51.100.1", "no address"]),
    method=st.sampled_from([None, "GET", "POST"]),
)


def decision(
    request: Request = REQUEST, possession: bool = True, now: float = NOW, **changes: Any
) -> Code:
    record = msgspec.structs.replace(
        RECORD, scopes=("cores:read", "files:list"), cores=("docs", "wiki"), expires_at=NOW + 1
    )
    record = msgspec.structs.replace(record, **changes)
    return evaluate(record, request, possession=possession, environment=TEST, now=now)


PROPERTIES = [
    ({}, REQUEST, Code.VALID),
    ({"state": KeyState.DISABLED}, REQUEST, Code.DISABLED),
    ({"state": KeyState.REVOKED}, REQUEST, Code.REVOKED),
    ({"state": KeyState.DELETED}, REQUEST, Code.REVOKED),
    ({"state": KeyState.PURGED}, REQUEST, Code.REVOKED),
    ({"environment": KeyEnvironment.LIVE}, REQUEST, Code.FORBIDDEN),
    ({}, Request(core="payroll"), Code.FORBIDDEN),
    ({"cores": ()}, Request(core="payroll"), Code.VALID),
    ({}, Request(scopes=("cores:read", "files:write")), Code.INSUFFICIENT_PERMISSIONS),
    ({"scopes": ("files:*", "*")}, Request(scopes=("files:list",)), Code.INSUFFICIENT_PERMISSIONS),
    ({"addresses": ("192.0.2.0/24",)}, Request(address="198.51.100.1"), Code.FORBIDDEN),
    ({"addresses": ("192.0.2.0/24",)}, Request(address="192.0.2.1"), Code.VALID),
    ({"addresses": ("192.0.2.0/24",)}, Request(), Code.FORBIDDEN),
    ({"methods": ("GET",)}, Request(method="POST"), Code.FORBIDDEN),
    ({"methods": ("GET",)}, Request(method="GET"), Code.VALID),
    ({"methods": ("GET",)}, Request(method="HEAD"), Code.VALID),
    ({"methods": ("HEAD",)}, Request(method="GET"), Code.FORBIDDEN),
    ({"methods": ("GET",)}, Request(), Code.VALID),
]


@pytest.mark.parametrize(("changes", "request_", "code"), PROPERTIES)
def test_key_property_decides(changes: dict[str, Any], request_: Request, code: Code) -> None:
    assert decision(request_, **changes) is code


def test_unknown_id_is_not_found() -> None:
    assert evaluate(None, REQUEST, possession=False, environment=TEST, now=NOW) is Code.NOT_FOUND


@pytest.mark.parametrize("state", KeyState)
def test_wrong_secret_reveals_no_key_state(state: KeyState) -> None:
    assert decision(possession=False, state=state) is Code.NOT_FOUND
    assert decision(possession=False, state=state, expires_at=NOW - 1) is Code.NOT_FOUND


def test_key_expires_at_its_exact_second() -> None:
    assert decision(now=NOW + 0.999) is Code.VALID
    assert decision(now=NOW + 1) is Code.EXPIRED
    assert decision(now=NOW * 2, expires_at=None) is Code.VALID


def test_checks_follow_order_of_codes() -> None:
    corrections: list[tuple[Code, dict[str, Any]]] = [
        (Code.REVOKED, {"state": KeyState.DISABLED}),
        (Code.DISABLED, {"state": KeyState.ACTIVE}),
        (Code.EXPIRED, {"expires_at": None}),
        (Code.FORBIDDEN, {"environment": KeyEnvironment.TEST, "cores": ()}),
        (Code.INSUFFICIENT_PERMISSIONS, {"scopes": ("cores:read",)}),
    ]
    broken: dict[str, Any] = {
        "state": KeyState.REVOKED,
        "expires_at": NOW - 1,
        "environment": KeyEnvironment.LIVE,
        "cores": ("payroll",),
        "scopes": (),
    }
    for code, correction in corrections:
        assert decision(**broken) is code
        broken |= correction
    assert decision(**broken) is Code.VALID


def test_one_exceeded_limit_denies() -> None:
    passed = RateLimitState(limit=LIMIT, remaining=3, reset_s=1, retry_after_s=0, exceeded=False)
    full = msgspec.structs.replace(passed, exceeded=True)
    assert evaluate_limits((passed, passed)) is Code.VALID
    assert evaluate_limits((passed, full)) is Code.RATE_LIMITED


def test_revoked_key_is_not_found_in_public() -> None:
    result = VerificationResult(
        code=Code.REVOKED, record=RECORD, limits=(), decided_at=NOW, staleness_ms=4
    )
    assert for_public(result) == VerificationResult(
        code=Code.NOT_FOUND, record=None, limits=(), decided_at=NOW, staleness_ms=4
    )


@given(records, requests)
def test_explanation_agrees_with_decision(record: KeyRecord, request_: Request) -> None:
    checks = key_checks(record, request_, environment=TEST, now=NOW)
    assert first_failure(checks) == evaluate(
        record, request_, possession=True, environment=TEST, now=NOW
    )


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


@given(
    st.one_of(
        st.ip_addresses().map(str),
        st.lists(st.integers(0, 300).map(str), min_size=3, max_size=5).map(".".join),
        st.text("0123456789.:af\n", max_size=16),
    )
)
def test_recognized_addresses_are_those_that_are_parsed(text: str) -> None:
    assert is_address(text) == (parse_address(text) is not None)
