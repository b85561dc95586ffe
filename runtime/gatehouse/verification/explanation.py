"""Explains the decision on a key to an administrator: every check, what the key has and what was asked, using nothing up."""

from __future__ import annotations

import contextlib

import msgspec

from gatehouse.errors import Unavailable
from gatehouse.keys.models import KeyEnvironment, RateLimit, StoredKey
from gatehouse.verification.decision import Check, Outcome, charged
from gatehouse.verification.decision import explain as checks_of
from gatehouse.verification.models import Charge, Code, Limits, RateLimitState, VerificationRequest


class Explained(msgspec.Struct, frozen=True):
    """`code`: that of the first check that fails, VALID when none does; a check may be unknown beside it."""

    code: Code
    checks: tuple[Check, ...]
    decided_at: float


async def explain(
    key: StoredKey,
    question: VerificationRequest,
    *,
    environment: KeyEnvironment,
    default_limit: RateLimit,
    limits: Limits | None,
    now: float,
) -> Explained:
    """`limits`: where the gateways count; None: they count for themselves and nobody else can know."""
    checks = list(checks_of(key.record, question, environment=environment, now=now))
    checks += await _limit_checks(key, question, default_limit, limits)
    if key.credits is not None:
        needed = question.cost or 1
        outcome = Outcome.PASS if key.credits.remaining >= needed else Outcome.FAIL
        if outcome is Outcome.FAIL and key.credits.refill_every is not None:
            outcome = Outcome.UNKNOWN  # a refill that is due comes with the next use
        has = f"{key.credits.remaining} left" + (
            f", {key.credits.refill_amount} every {key.credits.refill_every}" if key.credits.refill_every else ""
        )
        checks.append(Check("credits", Code.USAGE_EXCEEDED, outcome, has, f"cost {question.cost}"))
    code = next((check.code for check in checks if check.outcome is Outcome.FAIL), Code.VALID)
    return Explained(code=code, checks=tuple(checks), decided_at=now)


async def _limit_checks(key: StoredKey, question: VerificationRequest, default: RateLimit, limits: Limits | None) -> list[Check]:
    own = charged(key.record, question, default)
    if isinstance(own, str):
        return []
    states: tuple[RateLimitState | None, ...] = (None,) * len(own)
    if limits is not None:
        with contextlib.suppress(Unavailable):
            states = await limits.take(Charge(subject=key.record.subject, limits=own, cost=0))
    return [_limit_check(limit, state, question.cost) for limit, state in zip(own, states, strict=True)]


def _limit_check(limit: RateLimit, state: RateLimitState | None, cost: int) -> Check:
    units = cost * limit.cost or 1
    has = f"{limit.quota} in {limit.window_s} s, {limit.burst} at once"
    outcome = Outcome.UNKNOWN
    if state is not None and not state.degraded:
        outcome = Outcome.PASS if state.remaining >= units else Outcome.FAIL
        has += f", {state.remaining} left"
    return Check(f"limit {limit.name}", Code.RATE_LIMITED, outcome, has, f"cost {cost * limit.cost}")
