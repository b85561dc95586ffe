"""Lockout after failed authentications, for each pair of client address and principal.

A lockout affects one client address only (for IPv6 its /64 network), so a client cannot lock out others. The counters are
stored in the memory of one console process and bounded. With n processes, n times as many attempts are possible, which is no
risk for 256-bit secrets."""

from __future__ import annotations

import math
from collections import OrderedDict

from gatehouse.clock import Clock
from gatehouse.http.addresses import network_of

FAILURES_MAX = 10

#: Seconds from the first failure until the lockout ends.
WINDOW_S = 300
PAIRS_MAX = 10_000


class Lockout:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def wait_s(self, address: str, principal: str) -> int:
        """Seconds until the lockout ends, 0 if there is none. `principal`: a key id, or a fixed name for other credentials."""
        started, count = self._failures.get((network_of(address), principal), (0.0, 0))
        remaining = started + WINDOW_S - self._clock.now()
        return math.ceil(remaining) if count >= FAILURES_MAX and remaining > 0 else 0

    def failed(self, address: str, principal: str) -> None:
        pair, now = (network_of(address), principal), self._clock.now()
        started, count = self._failures.pop(pair, (now, 0))
        self._failures[pair] = (now, 1) if now - started >= WINDOW_S else (started, count + 1)
        if len(self._failures) > PAIRS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, principal: str) -> None:
        self._failures.pop((network_of(address), principal), None)
