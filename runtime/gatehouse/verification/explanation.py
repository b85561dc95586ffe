"""Explains the decision on a key to an administrator: all checks, without consuming limits or credits."""

from __future__ import annotations

import contextlib

import msgspec

from gatehouse.errors import Unavailable
from gatehouse.keys.models import CreditPlan, Key, KeyEnvironment, RateLimit
from gatehouse.verification import decision
from gatehouse.verification.decision import Check, Outcome, effective_limits
from gatehouse.verification.models import Charge, Code, RateLimits, RateLimitState, VerificationRequest


class Explanation(msgspec.Struct, frozen=True):
    """`code`: code of the first check that fails, or VALID; other checks may be unknown."""

    code: Code
    checks: tuple[Check, ...]
    decided_at: float


async def explain(
    key: Key,
    request: VerificationRequest,
    *,
    environment: KeyEnvironment,
    default_limit: RateLimit,
    limits: RateLimits | None,
    now: float,
) -> Explanation:
    """`limits`: the rate limiter that the gateways share; None if each worker counts for itself, so that the state is unknown."""
    checks = list(decision.explain(key, request, environment=environment, now=now))
    checks += await _limit_checks(key, request, default_limit, limits)
    if key.credits is not None:
        checks.append(_credit_check(key.credits, request.cost))
    code = next((check.code for check in checks if check.outcome is Outcome.FAIL), Code.VALID)
    return Explanation(code=code, checks=tuple(checks), decided_at=now)


def _credit_check(plan: CreditPlan, cost: int) -> Check:
    has = f"{plan.remaining} left"
    outcome = Outcome.PASS if plan.remaining >= (cost or 1) else Outcome.FAIL
    if plan.refill_every is not None:
        has += f", {plan.refill_amount} every {plan.refill_every}"
        if outcome is Outcome.FAIL:
            outcome = Outcome.UNKNOWN  # the next use may trigger a refill
    return Check("credits", Code.USAGE_EXCEEDED, outcome, has, f"cost {cost}")


async def _limit_checks(key: Key, request: VerificationRequest, default: RateLimit, limiter: RateLimits | None) -> list[Check]:
    limits = effective_limits(key, request, default)
    if isinstance(limits, str):
        return []
    states: tuple[RateLimitState | None, ...] = (None,) * len(limits)
    if limiter is not None:
        with contextlib.suppress(Unavailable):
            states = await limiter.take(Charge(subject=key.subject, limits=limits, cost=0))
    return [_limit_check(limit, state, request.cost) for limit, state in zip(limits, states, strict=True)]


def _limit_check(limit: RateLimit, state: RateLimitState | None, cost: int) -> Check:
    units = cost * limit.cost or 1
    has = f"{limit.quota} in {limit.window_s} s, burst of {limit.burst}"
    outcome = Outcome.UNKNOWN
    if state is not None and not state.degraded:
        outcome = Outcome.PASS if state.remaining >= units else Outcome.FAIL
        has += f", {state.remaining} left"
    return Check(f"limit {limit.name}", Code.RATE_LIMITED, outcome, has, f"cost {cost * limit.cost}")
