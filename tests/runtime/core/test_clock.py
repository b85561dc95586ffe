"""Time conversions."""

import pytest
from gatehouse.core.clock import (
    Clock,
    monotonic,
    rfc3339,
    timestamp,
    to_datetime,
    to_microseconds,
    to_seconds,
)
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(0, 4_000_000_000_000_000))
def test_microsecond_survives_a_round_trip(microseconds: int) -> None:
    assert to_microseconds(to_seconds(to_datetime(microseconds / 1_000_000))) == microseconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "1970-01-01T00:00:00Z"), (1_924_992_000.123456, "2031-01-01T00:00:00.123456Z")],
)
def test_rfc3339_omits_a_zero_fraction(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text


@given(st.integers(0, 4_000_000_000_000_000))
def test_timestamp_has_microseconds(microseconds: int) -> None:
    for nanosecond in (0, 999):
        assert timestamp(microseconds * 1000 + nanosecond) == rfc3339(
            microseconds / 1_000_000, "microseconds"
        )


def test_clock_follows_the_clock_of_a_server() -> None:
    clock, hour_s = Clock(), 3600
    for start in (1000.0, 5000.0, 2000.0):
        clock.follow(start, monotonic())
        assert start <= clock.now() < start + hour_s
    ahead = clock.now() - monotonic()
    clock.follow(1990.0, monotonic() - 60)  # the response took up to a minute
    assert clock.now() - monotonic() == pytest.approx(ahead)
