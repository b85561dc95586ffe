"""Decision on a key: one broken property per test, and the order of the checks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from gatehouse.keys.models import KeyEnvironment, KeyId, KeyRecord, KeyState, RateLimit
from gatehouse.verification.decision import evaluate, evaluate_limits, for_public
from gatehouse.verification.models import Code, RateLimitState, VerificationRequest, VerificationResult

NOW = 1_800_000_000.0
LIMIT = RateLimit(name="requests", quota=10, window_s=1, burst=10)
RECORD = KeyRecord(
    id=KeyId("abcdefghijkl"),
    digest=bytes(32),
    pepper_generation=1,
    environment=KeyEnvironment.TEST,
    state=KeyState.ACTIVE,
    name="reader",
    owner="team",
    scopes=("cores:read", "files:list"),
    cores=("docs", "wiki"),
    limits=(LIMIT,),
    expires_at=NOW + 1,
    version=1,
)
QUESTION = VerificationRequest(scopes=("cores:read",), core="docs")


def decision(question: VerificationRequest = QUESTION, possession: bool = True, now: float = NOW, **broken: Any) -> Code:
    record = msgspec.structs.replace(RECORD, **broken)
    return evaluate(record, question, possession=possession, environment=KeyEnvironment.TEST, now=now)


def test_matching_key_is_valid() -> None:
    assert decision() is Code.VALID


def test_unknown_id_is_not_found() -> None:
    assert evaluate(None, QUESTION, possession=False, environment=KeyEnvironment.TEST, now=NOW) is Code.NOT_FOUND


def test_wrong_secret_is_not_found() -> None:
    assert decision(possession=False) is Code.NOT_FOUND


@pytest.mark.parametrize("state", KeyState)
def test_wrong_secret_reveals_no_key_state(state: KeyState) -> None:
    assert decision(possession=False, state=state, expires_at=NOW - 1) is Code.NOT_FOUND


def test_revoked_key_is_revoked() -> None:
    assert decision(state=KeyState.REVOKED) is Code.REVOKED


def test_disabled_key_is_disabled() -> None:
    assert decision(state=KeyState.DISABLED) is Code.DISABLED


@pytest.mark.requirement("CG-07")
def test_key_expires_at_its_exact_second() -> None:
    assert decision(now=NOW + 0.999) is Code.VALID
    assert decision(now=NOW + 1) is Code.EXPIRED


def test_key_without_expiry_does_not_expire() -> None:
    assert decision(now=NOW * 2, expires_at=None) is Code.VALID


@pytest.mark.requirement("TR-05")
def test_key_of_other_environment_is_forbidden() -> None:
    assert decision(environment=KeyEnvironment.LIVE) is Code.FORBIDDEN


def test_unlisted_core_is_forbidden() -> None:
    assert decision(VerificationRequest(core="payroll")) is Code.FORBIDDEN


def test_key_without_cores_allows_every_core() -> None:
    assert decision(VerificationRequest(core="payroll"), cores=()) is Code.VALID


def test_every_required_scope_is_needed() -> None:
    assert decision(VerificationRequest(scopes=("cores:read", "files:write"))) is Code.INSUFFICIENT_PERMISSIONS


def test_scopes_have_no_wildcards() -> None:
    assert decision(VerificationRequest(scopes=("files:list",)), scopes=("files:*", "*")) is Code.INSUFFICIENT_PERMISSIONS


def test_checks_follow_order_of_codes() -> None:
    repairs: list[tuple[Code, dict[str, Any]]] = [
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
    for code, repair in repairs:
        assert decision(**broken) is code
        broken |= repair
    assert decision(**broken) is Code.VALID


def test_one_exceeded_limit_denies() -> None:
    passed = RateLimitState(limit=LIMIT, remaining=3, reset_s=1, retry_after_s=0, exceeded=False)
    full = msgspec.structs.replace(passed, exceeded=True)
    assert evaluate_limits((passed, passed)) is Code.VALID
    assert evaluate_limits((passed, full)) is Code.RATE_LIMITED


def test_revoked_key_is_not_found_in_public() -> None:
    verdict = VerificationResult(code=Code.REVOKED, record=RECORD, limits=(), decided_at=NOW, staleness_ms=4)
    assert for_public(verdict) == VerificationResult(code=Code.NOT_FOUND, record=None, limits=(), decided_at=NOW, staleness_ms=4)


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.REVOKED])
def test_other_results_are_public_unchanged(code: Code) -> None:
    verdict = VerificationResult(code=code, record=RECORD, limits=(), decided_at=NOW, staleness_ms=4)
    assert for_public(verdict) is verdict
