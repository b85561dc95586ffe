"""Stopping whoever guesses credentials: per address and the one that is guessed at, so that nobody is locked out from elsewhere.

Only somebody at the same address (an IPv6 one stands for its /64 network) can lock a credential out, and only there. Kept in the
memory of one console process and bounded: n processes let up to n times as many guesses pass, which against 256-bit secrets is a
matter of noise, not of safety."""

from __future__ import annotations

import math
from collections import OrderedDict

from gatehouse.clock import Clock
from gatehouse.http.addresses import network_of

FAILURES_MAX = 10


#: Seconds from the first of these failures until the pair may try again.
WINDOW_S = 300


PAIRS_MAX = 10_000


class Lockout:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def wait_s(self, address: str, principal: str) -> int:
        """Seconds until the pair is heard again; 0 when it is heard now. `principal`: a key id, or a word for the others."""
        begun, count = self._failures.get((network_of(address), principal), (0.0, 0))
        left = begun + WINDOW_S - self._clock.now()
        return math.ceil(left) if count >= FAILURES_MAX and left > 0 else 0

    def failed(self, address: str, principal: str) -> None:
        pair, now = (network_of(address), principal), self._clock.now()
        begun, count = self._failures.pop(pair, (now, 0))
        self._failures[pair] = (now, 1) if now - begun >= WINDOW_S else (begun, count + 1)
        if len(self._failures) > PAIRS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, principal: str) -> None:
        self._failures.pop((network_of(address), principal), None)
