"""Clocks: the system's, and one that a test moves by hand."""

from __future__ import annotations

import time


class SystemClock:
    """Unix seconds of this machine."""

    def now(self) -> float:
        return time.time()


class HandClock:
    """Stands still until it is moved; the shipped fake of the Clock port."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def move(self, seconds: float) -> None:
        self._now += seconds
