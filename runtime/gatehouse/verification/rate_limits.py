"""The arithmetic of rate limits (GCRA) for several limits tested together; it keeps no state and reads no clock.

A limit is one number: how far its theoretical arrival time lies ahead of now, in microseconds (`ahead_us`, >= 0). A request of
cost c moves it by c emission intervals (window / quota) and passes while it stays within `burst` intervals; c is the cost of
the request times that of the limit. All limits of a request are judged first; when one refuses, none is moved. Whoever keeps
the numbers (Redis, a dict) only adds and subtracts.
Theory: ITU-T I.371, annex A (virtual scheduling form of the generic cell rate algorithm)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gatehouse.keys.models import RateLimit
from gatehouse.verification.models import RateLimitState

#: Rounding slack in microseconds: seven requests of 60/7 s each must fit into a burst of seven although 60/7 has no exact form.
SLACK_US = 0.1


def interval_us(limit: RateLimit) -> float:
    """Microseconds that one unit uses up."""
    return limit.window_s * 1_000_000 / limit.quota


def move_us(limit: RateLimit, cost: int) -> float:
    """How far a request of this cost moves the limit; 0 for one that only looks."""
    return cost * limit.cost * interval_us(limit)


def room_us(limit: RateLimit, cost: int) -> float:
    """How far ahead the limit may be before `move_us` is added: a request that only looks must find room for one unit."""
    units = cost * limit.cost
    return (limit.burst - (units or 1)) * interval_us(limit)


def fits(limit: RateLimit, ahead_us: float, cost: int) -> bool:
    """Whether a request of this cost stays within the burst."""
    return ahead_us <= room_us(limit, cost) + SLACK_US


def admits(limits: Sequence[RateLimit], ahead_us: Sequence[float], cost: int) -> bool:
    """True when every limit lets the request pass. Cost 0 only looks, so it passes unless a limit is used up."""
    return all(fits(limit, ahead, cost) for limit, ahead in zip(limits, ahead_us, strict=True))


def report(
    limits: Sequence[RateLimit], ahead_us: Sequence[float], cost: int, *, degraded: bool = False
) -> tuple[RateLimitState, ...]:
    """One state a limit, in order, from the numbers *before* the request.

    `remaining` and `reset_s` describe the time after it: moved by `cost` when all limits admitted it, unmoved otherwise.
    A request that costs more than the whole burst can never pass; it is told the time until the limit is whole, and never 0.
    """
    admitted = admits(limits, ahead_us, cost)
    return tuple(
        _state(limit, ahead, cost, admitted=admitted, degraded=degraded) for limit, ahead in zip(limits, ahead_us, strict=True)
    )


def _state(limit: RateLimit, ahead_us: float, cost: int, *, admitted: bool, degraded: bool) -> RateLimitState:
    step = interval_us(limit)
    exceeded = not fits(limit, ahead_us, cost)
    after_us = ahead_us + move_us(limit, cost) if admitted else ahead_us
    retry_us = 0.0
    if exceeded:
        needed = cost * limit.cost or 1
        retry_us = ahead_us + needed * step - limit.burst * step if needed <= limit.burst else max(ahead_us, step)
    return RateLimitState(
        limit=limit,
        remaining=max(0, math.floor((limit.burst * step - after_us + SLACK_US) / step)),
        reset_s=after_us / 1_000_000,
        retry_after_s=max(retry_us, 0.0) / 1_000_000,
        exceeded=exceeded,
        degraded=degraded,
    )
