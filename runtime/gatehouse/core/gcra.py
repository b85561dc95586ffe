"""Calculates rate limits (GCRA), for several limits that are checked together. Pure.

The state of a limit is one number, `ahead_us` (>= 0): the time in microseconds by which the
theoretical arrival time is ahead of the current time. Let c be the cost of the request multiplied
by the cost of the limit. A request advances this number by c emission intervals (window / quota),
and is allowed if the new value does not exceed `burst` intervals. A request with c = 0 is allowed
only if there is capacity for one unit. If one limit denies a request, no limit is advanced. In this
module, the argument `cost` is the cost of the request.
Source: ITU-T I.371, annex A (virtual scheduling algorithm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


#: A limit and the numbers of a request of a certain cost, for `take`: the limit, its name,
#: `interval_us`, `move_us`, `room_us`, and the burst in microseconds, the last two with the
#: rounding tolerance. Unpacking a tuple takes less time than a NamedTuple.
Step = tuple[RateLimit, str, float, float, float, float]


def steps(limits: Sequence[RateLimit], cost: int) -> tuple[Step, ...]:
    """One step per limit."""
    return tuple([_step(limit, cost) for limit in limits])


def _step(limit: RateLimit, cost: int) -> Step:
    interval, move, room = interval_us(limit), move_us(limit, cost), room_us(limit, cost)
    return limit, limit.name, interval, move, room + SLACK_US, limit.burst * interval + SLACK_US


def take(
    request: Sequence[Step], arrivals: Mapping[str, float], now_us: float, *, degraded: bool
) -> tuple[tuple[RateLimitState, ...], dict[str, float]] | None:
    """One state per limit after the request, in order, and the new theoretical arrival times. None
    if a limit denies the request.

    arrivals: theoretical arrival times in microseconds by name of the limit, on the same clock as
        `now_us`.
    """
    states, after = [], {}
    for limit, name, interval, move, room, burst in request:
        ahead = arrivals.get(name, 0.0) - now_us
        if ahead < 0.0:
            ahead = 0.0
        if ahead > room:
            return None
        ahead += move
        after[name] = now_us + ahead
        remaining = int((burst - ahead) / interval)
        states.append(
            RateLimitState(
                limit, remaining if remaining > 0 else 0, ahead / 1_000_000, 0.0, False, degraded
            )
        )
    return tuple(states), after


def fits(limit: RateLimit, ahead_us: float, cost: int) -> bool:
    """True if the limit allows the request."""
    return ahead_us <= room_us(limit, cost) + SLACK_US


def allows(limits: Sequence[RateLimit], ahead_us: Sequence[float], cost: int) -> bool:
    """True if every limit allows the request."""
    for limit, ahead in zip(limits, ahead_us, strict=True):  # noqa: SIM110 - a generator takes twice as long
        if not fits(limit, ahead, cost):
            return False
    return True


def report(
    limits: Sequence[RateLimit], ahead_us: Sequence[float], cost: int, *, degraded: bool = False
) -> tuple[RateLimitState, ...]:
    """One state per limit, in order, calculated from the `ahead_us` values before the request. The
    names of the limits differ.

    `remaining` and `reset_s` describe the state after the request: advanced if all limits allow it,
    unchanged otherwise. A request that costs more than the full burst is never allowed. In this
    case, `retry_after_s` is the time until the full burst is available, and never 0.
    """
    arrivals = {limit.name: ahead for limit, ahead in zip(limits, ahead_us, strict=True)}
    taken = take(steps(limits, cost), arrivals, 0.0, degraded=degraded)
    if taken is not None:
        return taken[0]
    return tuple(
        [
            _denied(limit, ahead, cost, degraded)
            for limit, ahead in zip(limits, ahead_us, strict=True)
        ]
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
