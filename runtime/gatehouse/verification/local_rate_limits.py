"""Rate limits in the memory of one worker: without Redis, or while it is away. An approximation, and it says so (`degraded`).

Each worker counts for itself, so n workers let up to n times the limit pass. That is the price of staying open; where it is too
high, GATEHOUSE_LIMIT_ON_ERROR=refuse closes instead."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from gatehouse.verification import rate_limits as gcra
from gatehouse.verification.models import Charge, RateLimitState

#: Counters that are kept; the least recently used go first, which at worst gives their subject a fresh burst.
COUNTERS_MAX = 200_000


def _monotonic_us() -> float:
    return time.monotonic() * 1_000_000


class LocalLimits:
    """The Limits port on a dict. `clock_us` is any clock that only goes forward, in microseconds."""

    def __init__(self, *, counters_max: int = COUNTERS_MAX, clock_us: Callable[[], float] = _monotonic_us) -> None:
        self._arrivals: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._counters_max = counters_max
        self._clock_us = clock_us

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self.take_now(charge)

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """The same without a task switch, for the fallback of the Redis limiter."""
        now = self._clock_us()
        keys = [(limit.name, charge.subject) for limit in charge.limits]
        ahead = [max(self._arrivals.get(key, 0.0) - now, 0.0) for key in keys]
        if charge.cost and gcra.admits(charge.limits, ahead, charge.cost):
            for key, limit, before in zip(keys, charge.limits, ahead, strict=True):
                self._arrivals[key] = now + before + gcra.move_us(limit, charge.cost)
                self._arrivals.move_to_end(key)
            while len(self._arrivals) > self._counters_max:
                self._arrivals.popitem(last=False)
        return gcra.report(charge.limits, ahead, charge.cost, degraded=True)
