"""The decision on a key: facts in, one code out; it looks nothing up and knows no clock.

Checks are made in the order of `types.Code` and the first that fails answers. Whoever does not prove possession of a known
key learns nothing: malformed, unknown, wrong secret and (for the public) revoked look the same."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from gatehouse.keys.models import KeyEnvironment, KeyRecord, KeyState, RateLimit
from gatehouse.verification.addresses import allows
from gatehouse.verification.models import Code, CreditState, RateLimitState, VerificationRequest, VerificationResult

#: Compared with when no key has the id, so that an unknown id costs the same work as a wrong secret.
DUMMY_DIGEST = bytes(32)


def judge(
    record: KeyRecord | None, question: VerificationRequest, *, possession: bool, environment: KeyEnvironment, now: float
) -> Code:
    """Every check that needs no counter. VALID means: ask the limits next.

    `possession`: the digest of the presented token equals the record's. `environment`: what this deployment serves.
    A key that expires at second t is refused from t on. Scopes are compared as whole names; there are no wildcards.
    """
    if record is None or not possession:
        return Code.NOT_FOUND
    if record.state is not KeyState.ACTIVE:
        # A deleted key is told apart from a revoked one in its record, not in the answer.
        return Code.DISABLED if record.state is KeyState.DISABLED else Code.REVOKED
    if record.expires_at is not None and now >= record.expires_at:
        return Code.EXPIRED
    if record.environment is not environment:
        return Code.FORBIDDEN
    if record.addresses and not allows(record.addresses, question.address):
        return Code.FORBIDDEN
    if question.method is not None and record.methods and question.method not in record.methods:
        return Code.FORBIDDEN
    if question.core is not None and record.cores and question.core not in record.cores:
        return Code.FORBIDDEN
    if any(scope not in record.scopes for scope in question.scopes):
        return Code.INSUFFICIENT_PERMISSIONS
    return Code.VALID


def charged(record: KeyRecord, question: VerificationRequest, default: RateLimit) -> tuple[RateLimit, ...] | str:
    """The limits that the question is counted against, each with its cost; or the name of one that cannot be counted.

    The key's own (else the deployment's default), with the question's costs, and then the limits that the question brings.
    One that it only names must be among the key's; one that it brings must not be.
    """
    own = record.limits or (default,)
    if not question.limits:
        return own
    names = {limit.name for limit in own}
    costs: dict[str, int] = {}
    brought: list[RateLimit] = []
    for wish in question.limits:
        if wish.quota is None or wish.window_s is None:
            if wish.name not in names:
                return wish.name
            costs[wish.name] = wish.cost
        elif wish.name in names:
            return wish.name
        else:
            burst = wish.quota if wish.burst is None else wish.burst
            brought.append(RateLimit(name=wish.name, quota=wish.quota, window_s=wish.window_s, burst=burst, cost=wish.cost))
    told = [msgspec.structs.replace(one, cost=costs[one.name]) if one.name in costs else one for one in own]
    return (*told, *brought)


def judge_limits(states: Sequence[RateLimitState]) -> Code:
    """VALID unless a limit is exceeded."""
    return Code.RATE_LIMITED if any(state.exceeded for state in states) else Code.VALID


def judge_credits(state: CreditState | None) -> Code:
    """The last check: VALID unless the key has credits and not enough of them."""
    return Code.USAGE_EXCEEDED if state is not None and state.exceeded else Code.VALID


class Outcome(StrEnum):
    """What one check of an explanation said."""

    PASS = "pass"  # noqa: S105 - an outcome
    FAIL = "fail"
    UNKNOWN = "unknown"  # whoever knows cannot be asked at the moment


class Check(msgspec.Struct, frozen=True):
    """One check of the decision: its code when it fails, what the key has and what was asked, in words."""

    name: str
    code: Code
    outcome: Outcome
    has: str
    asked: str


def explain(record: KeyRecord, question: VerificationRequest, *, environment: KeyEnvironment, now: float) -> tuple[Check, ...]:
    """Every check of `judge` on a key whose possession is taken for granted, in its order, also behind the first that fails."""

    def check(name: str, code: Code, passes: bool, has: str, asked: str) -> Check:
        return Check(name, code, Outcome.PASS if passes else Outcome.FAIL, has, asked)

    ended = record.state not in {KeyState.ACTIVE, KeyState.DISABLED}
    missing = [scope for scope in question.scopes if scope not in record.scopes]
    return (
        check("not revoked or deleted", Code.REVOKED, not ended, record.state.value, ""),
        check("enabled", Code.DISABLED, record.state is not KeyState.DISABLED, record.state.value, ""),
        check(
            "not expired",
            Code.EXPIRED,
            record.expires_at is None or now < record.expires_at,
            "no end" if record.expires_at is None else f"{record.expires_at - now:.0f} s left",
            "",
        ),
        check("environment", Code.FORBIDDEN, record.environment is environment, record.environment.value, environment.value),
        check(
            "address",
            Code.FORBIDDEN,
            not record.addresses or allows(record.addresses, question.address),
            " ".join(record.addresses) or "from anywhere",
            question.address,
        ),
        check(
            "method",
            Code.FORBIDDEN,
            question.method is None or not record.methods or question.method in record.methods,
            " ".join(record.methods) or "every method",
            question.method or "",
        ),
        check(
            "core",
            Code.FORBIDDEN,
            question.core is None or not record.cores or question.core in record.cores,
            " ".join(record.cores) or "every Core",
            question.core or "",
        ),
        check("scopes", Code.INSUFFICIENT_PERMISSIONS, not missing, " ".join(record.scopes) or "none", " ".join(question.scopes)),
        _signature(record),
    )


def _signature(record: KeyRecord) -> Check:
    """Whether a request will be signed cannot be known beforehand."""
    signing = record.signing
    required = signing is not None and signing.required
    has = "no signing key" if signing is None else f"{signing.algorithm.value}, {'required' if required else 'not required'}"
    return Check("signature", Code.SIGNATURE_INVALID, Outcome.UNKNOWN if required else Outcome.PASS, has, "")


def for_public(verdict: VerificationResult) -> VerificationResult:
    """What the holder of the token may read: a revoked key looks as if it had never been."""
    if verdict.code is not Code.REVOKED:
        return verdict
    return msgspec.structs.replace(verdict, code=Code.NOT_FOUND, record=None, limits=(), credits=None, reason="")
