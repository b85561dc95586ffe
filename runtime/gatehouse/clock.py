"""Represents time as Unix seconds, exact to the microsecond, and converts times for PostgreSQL and RFC 3339."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """The system clock. Services take it as an argument, so that tests can set the time."""

    def now(self) -> float:
        return time.time()


def to_microseconds(seconds: float) -> int:
    """Whole microseconds, the precision of PostgreSQL's timestamptz."""
    return round(seconds * 1_000_000)


def to_datetime(seconds: float) -> datetime:
    return _EPOCH + timedelta(microseconds=to_microseconds(seconds))


def to_seconds(instant: datetime) -> float:
    """Unix seconds for an aware datetime. `to_microseconds` of the result is exact until the year 2100."""
    return instant.timestamp()


def rfc3339(seconds: float, timespec: str = "auto") -> str:
    """RFC 3339 timestamp in UTC, such as `2031-01-01T00:00:00.123456Z`. `timespec`: precision, as in `datetime.isoformat`.

    By default, the fraction has microseconds and is omitted if it is zero.
    """
    return to_datetime(seconds).isoformat(timespec=timespec).replace("+00:00", "Z")
