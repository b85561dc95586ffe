"""Conversions between Unix seconds, the time type of the runtime, and the types of PostgreSQL and RFC 3339.

Exact to the microsecond.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(seconds: float) -> int:
    """Whole microseconds, the precision of PostgreSQL's timestamptz."""
    return round(seconds * 1_000_000)


def to_datetime(seconds: float) -> datetime:
    return _EPOCH + timedelta(microseconds=to_microseconds(seconds))


def to_seconds(instant: datetime) -> float:
    """Unix seconds of an aware datetime. `to_microseconds` of the result is exact until the year 2100."""
    return instant.timestamp()


def rfc3339(seconds: float) -> str:
    """RFC 3339 in UTC, such as `2031-01-01T00:00:00.123456Z`. A fraction of zero is omitted."""
    return to_datetime(seconds).isoformat().replace("+00:00", "Z")
