"""Represents time as Unix seconds, exact to the microsecond, and converts times for PostgreSQL and
RFC 3339.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


#: On Linux, the clock that also runs while the machine is suspended.
_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


#: Age of a state that was never read: longer than any bound.
NEVER_MS = 1_000_000_000


def monotonic() -> float:
    return time.clock_gettime(_MONOTONIC)


def age_ms(since: float | None) -> int:
    """Time in milliseconds since a time of `monotonic`. NEVER_MS for None."""
    return NEVER_MS if since is None else int((monotonic() - since) * 1000)


#: Seconds by which a clock may differ from the clock that it follows.
_TOLERANCE_S = 0.5


class Clock:
    """The system clock, unless `follow` is called. An argument, so that tests can set the time."""

    #: Seconds by which the followed clock is ahead of `monotonic`.
    _ahead: float | None = None

    def now(self) -> float:
        return time.time() if self._ahead is None else monotonic() + self._ahead

    def follow(self, now: float, asked_at: float) -> None:
        """Follows the clock of a server. now: its response at a time after `monotonic` was
        `asked_at`.
        """
        low, high, ahead = now - monotonic(), now - asked_at, self._ahead
        if ahead is None or not low - _TOLERANCE_S <= ahead <= high + _TOLERANCE_S:
            self._ahead = low

    def monotonic(self) -> float:
        return monotonic()


def to_microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def rounded(value: float) -> float:
    """The value with three decimals, such as seconds with milliseconds. Takes less time than
    `round(value, 3)`.
    """
    return round(value * 1000) / 1000


def to_datetime(seconds: float) -> datetime:
    return _EPOCH + timedelta(microseconds=to_microseconds(seconds))


def to_seconds(instant: datetime) -> float:
    """Unix seconds for an aware datetime. `to_microseconds` of the result is exact until the year
    2100.
    """
    return instant.timestamp()


def rfc3339(
    seconds: float, timespec: Literal["auto", "milliseconds", "microseconds"] = "auto"
) -> str:
    """RFC 3339 timestamp in UTC, such as `2031-01-01T00:00:00.123456Z`. `timespec`: precision, as
    in `datetime.isoformat`.

    By default, the fraction has microseconds and is omitted if it is zero.
    """
    if timespec == "milliseconds":
        return _millisecond(to_microseconds(seconds) // 1000)
    whole, fraction = divmod(to_microseconds(seconds), 1_000_000)
    second = _second(whole)
    return f"{second}.{fraction:06d}Z" if fraction or timespec == "microseconds" else f"{second}Z"


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 timestamp in UTC with microseconds, for Unix nanoseconds. Takes less time than
    `rfc3339`.
    """
    whole, fraction = divmod(nanoseconds // 1000, 1_000_000)
    return f"{_second(whole)}.{fraction:06d}Z"


@lru_cache(maxsize=64)
def _millisecond(milliseconds: int) -> str:
    """Timestamp with milliseconds. Cached, because a busy worker sends several responses in the
    same millisecond.
    """
    whole, fraction = divmod(milliseconds, 1000)
    return f"{_second(whole)}.{fraction:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """Date and time without fractional seconds. Cached, because most timestamps are in the current
    second.
    """
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
