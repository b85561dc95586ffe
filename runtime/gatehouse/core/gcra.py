"""Calculates rate limits (GCRA), for several limits that are checked together. Pure.

The state of a limit is one number, `ahead_us` (>= 0): the time in microseconds by which the
theoretical arrival time is ahead of the current time. Let c be the cost of the request multiplied
by the cost of the limit. A request advances this number by c emission intervals (window / quota),
and is allowed if the new value does not exceed `burst` intervals. A request with c = 0 is allowed
only if there is capacity for one unit. If one limit denies a request, no limit is advanced. In this
module, the argument `cost` is the cost of the request.
Source: ITU-T I.371, annex A (virtual scheduling algorithm).
"""

from collections.abc import Sequence

from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import RateLimitState

#: Rounding tolerance in microseconds: seven requests of 60/7 s each must fit within a burst of
#: seven, although 60/7 is not exact.
SLACK_US = 0.1


def interval_us(limit: RateLimit) -> float:
    """Emission interval: microseconds per unit."""
    return limit.window_s * 1_000_000 / limit.quota


def move_us(limit: RateLimit, cost: int) -> float:
    """Microseconds by which a request advances the limit."""
    return cost * limit.cost * interval_us(limit)


def room_us(limit: RateLimit, cost: int) -> float:
    """Largest `ahead_us` at which the request is allowed."""
    units = cost * limit.cost
    return (limit.burst - (units or 1)) * interval_us(limit)


def fits(limit: RateLimit, ahead_us: float, cost: int) -> bool:
    return ahead_us <= room_us(limit, cost) + SLACK_US


def allows(limits: Sequence[RateLimit], ahead_us: Sequence[float], cost: int) -> bool:
    for limit, ahead in zip(limits, ahead_us, strict=True):  # noqa: SIM110 - a generator takes twice as long
        if not fits(limit, ahead, cost):
            return False
    return True


def report(
    limits: Sequence[RateLimit], ahead_us: Sequence[float], cost: int, *, degraded: bool = False
) -> tuple[RateLimitState, ...]:
    """One state per limit, in order, calculated from the `ahead_us` values before the request.

    `remaining` and `reset_s` describe the state after the request: advanced if all limits allow it,
    unchanged otherwise. A request that costs more than the full burst is never allowed. In this
    case, `retry_after_s` is the time until the full burst is available, and never 0.
    """
    pairs = list(zip(limits, ahead_us, strict=True))
    if not allows(limits, ahead_us, cost):
        return tuple([_denied(limit, ahead, cost, degraded) for limit, ahead in pairs])
    states = []
    for limit, ahead in pairs:
        step = interval_us(limit)
        burst = limit.burst * step + SLACK_US
        states.append(allowed(limit, step, burst, ahead + move_us(limit, cost), degraded))
    return tuple(states)


def allowed(
    limit: RateLimit, interval: float, burst: float, ahead: float, degraded: bool
) -> RateLimitState:
    """State of a limit after a request that is allowed. interval: `interval_us` of the limit.
    burst: the burst in microseconds, with the rounding tolerance."""
    remaining = int((burst - ahead) / interval)
    return RateLimitState(
        limit, remaining if remaining > 0 else 0, ahead / 1_000_000, 0.0, False, degraded
    )


def _denied(limit: RateLimit, ahead_us: float, cost: int, degraded: bool) -> RateLimitState:
    """State of a limit, exceeded or not, when the request is denied."""
    step = interval_us(limit)
    exceeded = not fits(limit, ahead_us, cost)
    retry_us = 0.0
    if exceeded:
        needed = cost * limit.cost or 1
        retry_us = (
            ahead_us + needed * step - limit.burst * step
            if needed <= limit.burst
            else max(ahead_us, step)
        )
    return RateLimitState(
        limit=limit,
        remaining=max(int((limit.burst * step - ahead_us + SLACK_US) / step), 0),
        reset_s=ahead_us / 1_000_000,
        retry_after_s=max(retry_us, 0.0) / 1_000_000,
        exceeded=exceeded,
        degraded=degraded,
    )
