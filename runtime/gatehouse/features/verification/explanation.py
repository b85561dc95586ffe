"""Explains the decision on a key to an administrator. The checks do not count against rate limits
or consume credits.
"""

import contextlib
from dataclasses import dataclass

from gatehouse.core import decision
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import Unavailable
from gatehouse.core.http.header_names import forwarded_names
from gatehouse.core.keys import Credits, Key, KeyEnvironment, KeyRecord, RateLimit
from gatehouse.core.verification import Charge, Code, RateLimitState, VerificationRequest
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.keys.service import KeyService
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.features.verification.schemas import Check, ExplainKey, Explanation, Outcome


def first_failure(checks: list[Check]) -> str:
    """Code of the first check that fails, or VALID."""
    return next((check.code for check in checks if check.outcome == "fail"), Code.VALID.value)


def key_checks(
    record: KeyRecord, request: VerificationRequest, *, environment: KeyEnvironment, now: float
) -> list[Check]:
    """All checks of `decision.evaluate` in order. Possession is assumed."""
    checks = []
    for row in decision.ROWS:
        outcome: Outcome = "pass" if row.passes(record, request, environment, now) else "fail"
        if outcome == "fail" and row.depends_on_signature:
            outcome = "unknown"
        checks.append(
            Check(
                row.name,
                outcome,
                row.code.value,
                row.actual(record, now),
                row.required(request, environment),
            )
        )
    return checks


def _credit_check(owner: str, plan: Credits, cost: int) -> Check:
    actual = f"{owner}{plan.remaining} left"
    outcome: Outcome = "pass" if plan.remaining >= (cost or 1) else "fail"
    if plan.refill is not None:
        actual += f", {plan.refill.amount} every {plan.refill.every}"
        if outcome == "fail":
            outcome = "unknown"  # the next use may trigger a refill
    return Check("credits", outcome, Code.USAGE_EXCEEDED.value, actual, f"cost {cost}")


def _limit_check(limit: RateLimit, state: RateLimitState | None, cost: int) -> Check:
    units = cost * limit.cost or 1
    actual = f"{limit.name}: {limit.quota} in {limit.window_s} s, burst of {limit.burst}"
    outcome: Outcome = "unknown"
    if state is not None and not state.degraded:
        outcome = "pass" if state.remaining >= units else "fail"
        actual += f", {state.remaining} left"
    required = f"cost {cost * limit.cost}"
    return Check("limit", outcome, Code.RATE_LIMITED.value, actual, required)


@dataclass(frozen=True, slots=True)
class ExplanationService:
    """Explains decisions on stored keys. limits: the rate limiter that the gateways share."""

    keys: KeyService
    limits: RateLimits
    cores: CoreRepository

    async def explain(self, key_id: str, body: ExplainKey, *, now: float) -> Explanation:
        key = await self.keys.get(key_id)
        request = VerificationRequest(
            scopes=tuple(body.scopes),
            core=body.core,
            cost=body.cost,
            address=body.address,
            method=body.method,
        )
        checks = key_checks(key, request, environment=self.keys.environment, now=now)
        checks += await self._limit_checks(key, body.cost)
        shared = await self.keys.store.credits(key.shared_subject) if key.customer else None
        for owner, credits in (("", key.credits), ("customer: ", shared)):
            if credits is not None:
                checks.append(_credit_check(owner, credits, body.cost))
        names = forwarded_names(await self.cores.settings(body.core or ""))
        removed = [name for name in body.headers if not names[name.lower().encode()]]
        return Explanation(first_failure(checks), checks, removed, decided_at=rfc3339(now))

    async def _limit_checks(self, key: Key, cost: int) -> list[Check]:
        limits = key.limits or (self.keys.default_limit,)
        others = ((key.shared_subject, key.shared_limits),) if key.shared_limits else ()
        charge = Charge(key.subject, limits, 0, others)
        limits = charge.all_limits
        states: tuple[RateLimitState | None, ...] = (None,) * len(limits)
        with contextlib.suppress(Unavailable):
            states = await self.limits.take(charge)
        return [
            _limit_check(limit, state, cost) for limit, state in zip(limits, states, strict=True)
        ]
