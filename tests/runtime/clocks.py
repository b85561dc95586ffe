"""A clock whose time is set by a test."""

from gatehouse.core.clock import Clock


class ManualClock(Clock):
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._correction = 0.0

    def now(self) -> float:
        return self._now + self._correction

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def correct(self, seconds: float) -> None:
        self._correction += seconds
