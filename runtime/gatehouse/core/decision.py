"""Decides on a key: computes one outcome code from the facts, and checks the client networks that the key allows. Pure.

Checks are performed in the order of `Code`; the first check that fails determines the outcome. A caller that does not prove
possession of a key learns nothing about the key: malformed, unknown, wrong and (in public responses) revoked tokens have the same
outcome.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gatehouse.core.addresses import allows
from gatehouse.core.keys import KeyEnvironment, KeyRecord, KeyState, RateLimit
from gatehouse.core.verification import VALID, Code, CreditState, RateLimitState, VerificationRequest, VerificationResult


def evaluate(
    record: KeyRecord | None, request: VerificationRequest, *, possession: bool, environment: KeyEnvironment, now: float
) -> Code:
    """Performs every check that needs no counter. VALID means that rate limits and credits are checked next.

    possession: True if the presented token matches the digest of the record. environment: environment of this deployment.
    A key that expires at time t is denied from time t. Scopes are compared as whole names; there are no wildcards.
    """
    if record is None or not possession:
        return Code.NOT_FOUND
    if record.state is not KeyState.ACTIVE:
        # A deleted key has the same outcome as a revoked key.
        return Code.DISABLED if record.state is KeyState.DISABLED else Code.REVOKED
    if record.expires_at is not None and now >= record.expires_at:
        return Code.EXPIRED
    if record.environment is not environment:
        return Code.FORBIDDEN
    if record.addresses and not allows(record.addresses, request.address):
        return Code.FORBIDDEN
    if request.method is not None and record.methods and request.method not in record.methods:
        return Code.FORBIDDEN
    if request.core is not None and record.cores and request.core not in record.cores:
        return Code.FORBIDDEN
    if any(scope not in record.scopes for scope in request.scopes):
        return Code.INSUFFICIENT_PERMISSIONS
    return Code.VALID


def effective_limits(record: KeyRecord, request: VerificationRequest, default: RateLimit) -> tuple[RateLimit, ...] | str:
    """Rate limits that apply to a request, each with its cost, or the name of an override that is not allowed.

    The limits of the key (or the default limit of the deployment) come first, with the costs from the request. The limits from
    the request follow. An override without a quota changes the cost of the limit with its name, which must exist. An override
    with a quota adds a limit, whose name must be new.
    """
    limits = record.limits or (default,)
    if not request.limits:
        return limits
    names = {limit.name for limit in limits}
    costs: dict[str, int] = {}
    additional: list[RateLimit] = []
    for override in request.limits:
        if override.quota is None or override.window_s is None:
            if override.name not in names:
                return override.name
            costs[override.name] = override.cost
        elif override.name in names:
            return override.name
        else:
            burst = override.quota if override.burst is None else override.burst
            additional.append(
                RateLimit(name=override.name, quota=override.quota, window_s=override.window_s, burst=burst, cost=override.cost)
            )
    own = [msgspec.structs.replace(limit, cost=costs[limit.name]) if limit.name in costs else limit for limit in limits]
    return (*own, *additional)


def evaluate_limits(states: Sequence[RateLimitState]) -> Code:
    """VALID unless a rate limit is exceeded."""
    for state in states:  # faster than a generator
        if state.exceeded:
            return Code.RATE_LIMITED
    return VALID


def evaluate_credits(state: CreditState | None) -> Code:
    """VALID unless the key has a credit balance that is too low for the request."""
    return Code.USAGE_EXCEEDED if state is not None and state.exceeded else Code.VALID


def for_public(result: VerificationResult) -> VerificationResult:
    """The result that the holder of the token may see. A revoked key has the same result as an unknown key."""
    if result.code is not Code.REVOKED:
        return result
    return msgspec.structs.replace(result, code=Code.NOT_FOUND, record=None, limits=(), credits=None, reason="")
