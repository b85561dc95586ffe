"""Rate limits in the memory of one worker, without Redis or while it is unavailable. States are marked `degraded`.

Each worker counts independently, so n workers together allow up to n times the limit. GATEHOUSE_LIMIT_ON_ERROR=refuse denies
requests instead while Redis is unavailable.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from gatehouse.verification import rate_limits as gcra
from gatehouse.verification.models import Charge, RateLimitState

#: Maximum number of counters. The least recently used is evicted first, which gives its subject a new burst.
COUNTERS_MAX = 200_000


def _monotonic_us() -> float:
    return time.monotonic() * 1_000_000


class LocalRateLimits:
    """`RateLimits` in a dict. `clock_us`: a monotonic clock in microseconds."""

    def __init__(self, *, counters_max: int = COUNTERS_MAX, clock_us: Callable[[], float] = _monotonic_us) -> None:
        self._arrivals: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._counters_max = counters_max
        self._clock_us = clock_us

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self.take_now(charge)

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """Synchronous `take`, for the fallback of the Redis limiter."""
        now = self._clock_us()
        keys = [(limit.name, charge.subject) for limit in charge.limits]
        ahead = [max(self._arrivals.get(key, 0.0) - now, 0.0) for key in keys]
        if charge.cost and gcra.allows(charge.limits, ahead, charge.cost):
            for key, limit, before in zip(keys, charge.limits, ahead, strict=True):
                self._arrivals[key] = now + before + gcra.move_us(limit, charge.cost)
                self._arrivals.move_to_end(key)
            while len(self._arrivals) > self._counters_max:
                self._arrivals.popitem(last=False)
        return gcra.report(charge.limits, ahead, charge.cost, degraded=True)
