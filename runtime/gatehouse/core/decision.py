"""Decides on a key: computes one outcome code from the facts. Pure.

Checks are performed in the order of `ROWS`; the first check that fails determines the outcome. A
caller that does not prove possession of a key learns nothing about the key: malformed, unknown,
wrong and (in public responses) revoked tokens have the same outcome.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from gatehouse.core.http.addresses import allows
from gatehouse.core.keys import CustomerState, KeyEnvironment, KeyRecord, KeyState
from gatehouse.core.verification import (
    AGENT,
    INVALID_REQUEST,
    NO_CREDENTIAL,
    UNKNOWN_CORE,
    VALID,
    Code,
    RateLimitState,
    VerificationRequest,
    VerificationResult,
)

#: Text of requests that no check denied.
ALLOWED = "Allowed"


class Row(NamedTuple):
    """A check of a key that needs no counter.

    text: why a request is denied if the check fails, for people.
    code: outcome if the check fails.
    passes: whether a request may use the key, from the record, the request, the environment of this
        deployment and the time in Unix seconds.
    actual: what the key has or allows, and required: what the request requires, as text for an
        explanation.
    depends_on_signature: an explanation cannot know whether a request will be signed.
    """

    name: str
    text: str
    code: Code
    passes: Callable[[KeyRecord, VerificationRequest, KeyEnvironment, float], bool]
    actual: Callable[[KeyRecord, float], str]
    required: Callable[[VerificationRequest, KeyEnvironment], str] = lambda *_: ""
    depends_on_signature: bool = False


def _lifetime(record: KeyRecord, now: float) -> str:
    return (
        "does not expire" if record.expires_at is None else f"{record.expires_at - now:.0f} s left"
    )


def _state(record: KeyRecord, _now: float) -> str:
    customer = record.customer
    if customer is not None and customer.state is not CustomerState.ACTIVE:
        return f"{record.state.value}; the customer is {customer.state.value}"
    return record.state.value


#: Every check of a key, in order. The verify endpoints, the proxy, WebSockets, the sign-in at the
#: console and explanations use these rows. A key that expires at time t is denied from time t.
#: Scopes are compared as whole names; there are no wildcards.
ROWS: tuple[Row, ...] = (
    Row(
        "not revoked or deleted",  # a deleted key has the same outcome as a revoked key
        "Revoked or deleted",
        Code.REVOKED,
        lambda record, _request, _environment, _now: (
            record.state in (KeyState.ACTIVE, KeyState.DISABLED)
            and (record.customer is None or record.customer.state is not CustomerState.DELETED)
        ),
        _state,
    ),
    Row(
        "enabled",
        "Disabled",
        Code.DISABLED,
        lambda record, _request, _environment, _now: (
            record.state is not KeyState.DISABLED
            and (record.customer is None or record.customer.state is CustomerState.ACTIVE)
        ),
        _state,
    ),
    Row(
        "not expired",
        "Expired",
        Code.EXPIRED,
        lambda record, _request, _environment, now: (
            record.expires_at is None or now < record.expires_at
        ),
        _lifetime,
    ),
    Row(
        "environment",
        "Wrong environment",
        Code.FORBIDDEN,
        lambda record, _request, environment, _now: record.environment is environment,
        lambda record, _now: record.environment.value,
        lambda _request, environment: environment.value,
    ),
    Row(
        "address",
        "Address not allowed",
        Code.FORBIDDEN,
        lambda record, request, _environment, _now: (
            not record.addresses or allows(record.addresses, request.address)
        ),
        lambda record, _now: " ".join(record.addresses) or "any address",
        lambda request, _environment: request.address,
    ),
    Row(
        "method",
        "Method not allowed",
        Code.FORBIDDEN,
        lambda record, request, _environment, _now: (
            not record.methods
            or request.method is None
            or request.method in record.methods
            or (request.method == "HEAD" and "GET" in record.methods)
        ),
        lambda record, _now: " ".join(record.methods) or "any method",
        lambda request, _environment: request.method or "",
    ),
    Row(
        "core",
        "Core not allowed",
        Code.FORBIDDEN,
        lambda record, request, _environment, _now: (
            not record.cores or request.core is None or request.core in record.cores
        ),
        lambda record, _now: " ".join(record.cores) or "any Core",
        lambda request, _environment: request.core or "",
    ),
    Row(
        "scopes",
        "Missing scope",
        Code.INSUFFICIENT_PERMISSIONS,
        lambda record, request, _environment, _now: (
            not request.scopes or set(record.scopes).issuperset(request.scopes)
        ),
        lambda record, _now: " ".join(record.scopes) or "none",
        lambda request, _environment: " ".join(request.scopes),
    ),
    Row(
        "signature",  # a signature that was sent is verified next, with the nonce that it contains
        "Invalid signature",
        Code.SIGNATURE_INVALID,
        lambda record, request, _environment, _now: (
            not record.public_key or request.signed is not None
        ),
        lambda record, _now: "required" if record.public_key else "not required",
        depends_on_signature=True,
    ),
)


#: The checks that deny requests, in order, with the texts for people. `request`: its form, or the
#: number of requests.
CHECKS = {
    "request": "Invalid request",
    "registered core": "Unknown Core",
    "credential": "No API key",
    "token": "Unknown API key",
    **{row.name: row.text for row in ROWS},
    "limit": "Rate limited",
    "credits": "No credits left",
    "state": "State of the key unknown",
}

_CHECK_OF_CODE = {
    **{row.code: row.name for row in reversed(ROWS)},
    Code.NOT_FOUND: "token",
    Code.RATE_LIMITED: "limit",
    Code.USAGE_EXCEEDED: "credits",
    Code.UNAVAILABLE: "state",
}


#: All codes in usage, with the texts for people: those of their checks.
CODES = {
    **{code.value: CHECKS[check] for code, check in _CHECK_OF_CODE.items()},
    Code.FORBIDDEN.value: "Not allowed by the key",
    VALID.value: ALLOWED,
    AGENT: "Allowed (agent of a Core)",
    NO_CREDENTIAL: CHECKS["credential"],
    INVALID_REQUEST: CHECKS["request"],
    UNKNOWN_CORE: CHECKS["registered core"],
}


def result_text(check: str) -> str:
    """The result of a request for people. check: the one that failed, or empty."""
    return CHECKS.get(check, check) or ALLOWED


def failed_check(
    result: VerificationResult, request: VerificationRequest, environment: KeyEnvironment
) -> tuple[str, str]:
    """The check of `CHECKS` that denied a request, and what it required: scopes, a method, an
    environment, the limit that is exceeded, `customer` for its credits, or the flaw of a signature.
    """
    code, record, now = result.code, result.record, result.decided_at
    if record is not None and not result.reason:
        for row in ROWS:
            if row.code is code and not row.passes(record, request, environment, now):
                is_recorded = row.name in ("address", "core")  # in fields of their own
                return row.name, "" if is_recorded else row.required(request, environment)
    limit = next((state.limit.name for state in result.limits if state.exceeded), "")
    if result.shared_credits is not None and result.shared_credits.exceeded:
        limit = "customer"
    return _CHECK_OF_CODE[code], result.reason or limit


def evaluate(
    record: KeyRecord | None,
    request: VerificationRequest,
    *,
    possession: bool,
    environment: KeyEnvironment,
    now: float,
) -> Code:
    """Performs every check that needs no counter. VALID means that a signature, rate limits and
    credits are checked next.

    possession: True if the presented token matches the digest of the record. environment:
        environment of this deployment.
    """
    if record is None or not possession:
        return Code.NOT_FOUND
    for row in ROWS:
        if not row.passes(record, request, environment, now):
            return row.code
    return VALID


def evaluate_limits(states: Sequence[RateLimitState]) -> Code:
    for state in states:  # faster than a generator
        if state.exceeded:
            return Code.RATE_LIMITED
    return VALID


def for_public(result: VerificationResult) -> VerificationResult:
    """The result that the holder of the token may see. A revoked key has the same result as an
    unknown key.
    """
    if result.code is not Code.REVOKED:
        return result
    return msgspec.structs.replace(
        result, code=Code.NOT_FOUND, record=None, limits=(), credits=None, reason=""
    )
