"""Clocks: the system's, and one that a test moves by hand.

What the flows need from the outside world, as small protocols; adapters live in sibling files, one a technology.

Adapters translate foreign exceptions: nothing above this line sees the name of a driver. A method that cannot reach its
technology raises `errors.Unavailable`.
"""

from __future__ import annotations

import time
from typing import Protocol


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


class Clock(Protocol):
    """Unix seconds, UTC."""

    def now(self) -> float: ...
