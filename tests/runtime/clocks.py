"""A clock whose time is set by a test."""

import time

from gatehouse.core.clock import Clock


class ManualClock(Clock):
    """At first, it is the last full hour: near to the clocks of the database and of a browser, and
    the start of a window of a limit.
    """

    def __init__(self, now: float | None = None) -> None:
        self._now = time.time() // 3600 * 3600 if now is None else now
        self._correction = 0.0

    def now(self) -> float:
        return self._now + self._correction

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def correct(self, seconds: float) -> None:
        self._correction += seconds
