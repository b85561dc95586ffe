"""Calculates rate limits (GCRA), for several limits that are checked together. Pure.

The state of a limit is a pair of times in microseconds. `ahead_us` (>= 0) is the time by which the
theoretical arrival time is ahead of the current time. `unit_us` is the time in which a used unit
becomes available again: `ahead_us / unit_us` units are used. Let c be the cost of the request
multiplied by the cost of the limit. A request uses c units, and is allowed if at most `burst` units
are used afterwards. A request with c = 0 is allowed only if there is capacity for one unit. If one
limit denies a request, no units are used. In this module, the argument `cost` is the cost of the
request.
Source: ITU-T I.371, annex A (virtual scheduling algorithm).

If a limit has been changed, the same number of units is used. `unit_us` becomes the emission
interval of the new limit (window / quota) with the next request if the new interval is shorter, and
with the next request that uses units if it is longer. A request never reduces the number of used
units, because keys of a family can have different limits with the same name.
"""

from collections.abc import Sequence

from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import RateLimitState

#: Rounding tolerance in microseconds: seven requests of 60/7 s each must fit within a burst of
#: seven, although 60/7 is not exact.
SLACK_US = 0.1

#: `ahead_us` and `unit_us` of a limit.
State = tuple[float, float]


def interval_us(limit: RateLimit) -> float:
    """Emission interval: microseconds per unit."""
    return limit.window_s * 1_000_000 / limit.quota


def room(limit: RateLimit, cost: int) -> int:
    """Largest number of used units at which the request is allowed."""
    return limit.burst - (cost * limit.cost or 1)


def checked(state: State, interval: float) -> State:
    """The state when a request is checked against a limit with this emission interval."""
    ahead, unit = state
    return (ahead * (interval / unit), interval) if interval < unit else state


def counted(ahead: float, unit: float, units: float, interval: float) -> State:
    """The state after a request has used units of a limit with this emission interval."""
    return (ahead * (interval / unit) + units * interval, interval) if units else (ahead, unit)


def fits(limit: RateLimit, state: State, cost: int) -> bool:
    ahead, unit = state
    return ahead <= room(limit, cost) * unit + SLACK_US


def allows(limits: Sequence[RateLimit], states: Sequence[State], cost: int) -> bool:
    return all(fits(limit, state, cost) for limit, state in zip(limits, states, strict=True))


def report(
    limits: Sequence[RateLimit], states: Sequence[State], cost: int, *, degraded: bool = False
) -> tuple[RateLimitState, ...]:
    """One state per limit, in order, calculated from the states before the request.

    `remaining` and `reset_s` describe the state after the request, unchanged if a limit denies it.
    A request that costs more than the full burst is never allowed. In this case, `retry_after_s` is
    the time until the full burst is available, and never 0.
    """
    pairs = list(zip(limits, states, strict=True))
    if not allows(limits, states, cost):
        return tuple([_denied(limit, state, cost, degraded) for limit, state in pairs])
    return tuple(
        [
            allowed(limit, *counted(*state, cost * limit.cost, interval_us(limit)), degraded)
            for limit, state in pairs
        ]
    )


def allowed(limit: RateLimit, ahead: float, unit: float, degraded: bool) -> RateLimitState:
    """State of a limit after a request that is allowed. ahead, unit: also after the request."""
    remaining = int((limit.burst * unit + SLACK_US - ahead) / unit)
    return RateLimitState(
        limit, remaining if remaining > 0 else 0, ahead / 1_000_000, 0.0, False, degraded
    )


def _denied(limit: RateLimit, state: State, cost: int, degraded: bool) -> RateLimitState:
    """State of a limit, exceeded or not, when the request is denied."""
    ahead, unit = state
    exceeded = not fits(limit, state, cost)
    retry_us = 0.0
    if exceeded:
        largest = room(limit, cost)
        retry_us = ahead - largest * unit if largest >= 0 else max(ahead, unit)
    return RateLimitState(
        limit=limit,
        remaining=max(int((limit.burst * unit - ahead + SLACK_US) / unit), 0),
        reset_s=ahead / 1_000_000,
        retry_after_s=max(retry_us, 0.0) / 1_000_000,
        exceeded=exceeded,
        degraded=degraded,
    )
