"""When a Core is left alone, and how many requests to it may be sent again: two decisions that are handed clock and facts.

A circuit is closed while the Core answers. So many failures in a row open it, and requests are refused at once instead of waiting
for a Core that is down. After a rest it is half open: one request goes through as a trial. Its answer closes the circuit, its
failure opens it again; a trial that says nothing for the length of a rest is followed by another. Only connections that fail
and silence count as failures: an answer of the Core, whatever its status, is one of a Core that is there.
Source: M. Nygard, Release It!, chapter "Stability Patterns"; for the budget, RFC 9110, section 9.2.2 and "The Tail at Scale".
"""

from __future__ import annotations

from enum import StrEnum

#: Retries that a quiet Core's budget holds: what few requests earn would otherwise never be enough for one.
RETRIES_KEPT_MAX = 10.0


class Phase(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """Of one Core, in one worker. Times are seconds of a clock that never goes back."""

    __slots__ = ("_failures", "_failures_max", "_open_until", "_rest_s")

    def __init__(self, failures_max: int, rest_s: float) -> None:
        """failures_max: in a row, until it opens; 0: it never does. rest_s: how long it stays open."""
        self._failures_max = failures_max
        self._rest_s = rest_s
        self._failures = 0
        self._open_until: float | None = None

    def phase(self, now: float) -> Phase:
        if self._open_until is None:
            return Phase.CLOSED
        return Phase.OPEN if now < self._open_until else Phase.HALF_OPEN

    def wait_s(self, now: float) -> float:
        """Seconds until the next request may go; 0: now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def begin(self, now: float) -> bool:
        """A request goes to the Core (`wait_s` was 0). True: it is the trial, and others wait for its outcome."""
        if self._open_until is None:
            return False
        self._open_until = now + self._rest_s
        return True

    def answered(self) -> bool:
        """The head of an answer came. True: this closed the circuit."""
        closed = self._open_until is not None
        self._failures, self._open_until = 0, None
        return closed

    def failed(self, now: float, *, trial: bool) -> bool:
        """No connection, or no answer. True: this opened the circuit. Requests that began before it opened change nothing."""
        if self._open_until is not None:
            if trial:
                self._open_until = now + self._rest_s
            return False
        self._failures += 1
        if not self._failures_max or self._failures < self._failures_max:
            return False
        self._open_until = now + self._rest_s
        return True

    def abandoned(self, now: float, *, trial: bool) -> None:
        """The request ended without saying anything of the Core: its client left. After a trial, the next request is one."""
        if trial and self._open_until is not None:
            self._open_until = now


class RetryBudget:
    """How many requests to one Core are sent again: a share of all that are sent, so that retries cannot double its load."""

    __slots__ = ("_kept", "_share")

    def __init__(self, share: float) -> None:
        """share: of 1; 0 for no retries."""
        self._share = share
        self._kept = RETRIES_KEPT_MAX if share else 0.0

    def earn(self) -> None:
        """A request is sent."""
        self._kept = min(RETRIES_KEPT_MAX, self._kept + self._share)

    def take(self) -> bool:
        """False: the share is used up."""
        if self._kept < 1.0:
            return False
        self._kept -= 1.0
        return True
