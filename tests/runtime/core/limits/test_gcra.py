"""Rate limit arithmetic compared with an exact model."""

from fractions import Fraction

import msgspec
from gatehouse.core.keys import RateLimit
from gatehouse.core.limits import gcra
from gatehouse.core.verification import RateLimitState
from hypothesis import given
from hypothesis import strategies as st

TWO_A_SECOND = RateLimit(name="second", quota=2, window_s=1, burst=2)

limits = st.builds(
    RateLimit,
    name=st.sampled_from(["a", "b", "c"]),
    quota=st.integers(1, 1000),
    window_s=st.integers(1, 3600),
    burst=st.integers(1, 50),
)
steps = st.lists(st.tuples(st.integers(0, 30_000_000), st.integers(0, 4)), min_size=1, max_size=40)


class Model:
    def __init__(self, several: list[RateLimit]) -> None:
        self.limits = several
        self.arrivals = [Fraction(0) for _ in several]

    def take(self, now: int, cost: int) -> tuple[list[Fraction], bool]:
        ahead = [max(arrival - now, Fraction(0)) for arrival in self.arrivals]
        step = [Fraction(limit.window_s * 1_000_000, limit.quota) for limit in self.limits]
        needed = max(cost, 1)
        fits = all(
            a + needed * s <= limit.burst * s
            for a, s, limit in zip(ahead, step, self.limits, strict=True)
        )
        if fits:
            self.arrivals = [now + a + cost * s for a, s in zip(ahead, step, strict=True)]
        return ahead, fits


def state_of(ahead: Fraction, limit: RateLimit) -> gcra.State:
    return float(ahead), gcra.interval_us(limit)


@given(st.lists(limits, min_size=1, max_size=3, unique_by=lambda limit: limit.name), steps)
def test_limits_match_exact_model(several: list[RateLimit], times: list[tuple[int, int]]) -> None:
    model, now = Model(several), 0
    for wait, cost in times:
        now += wait
        exact, fits = model.take(now, cost)
        known = [state_of(number, limit) for number, limit in zip(exact, several, strict=True)]
        assert gcra.allows(several, known, cost) == fits
        states = gcra.report(several, known, cost)
        assert any(state.exceeded for state in states) == (not fits)
        for state, limit, arrival in zip(states, several, model.arrivals, strict=True):
            left = limit.burst - max(arrival - now, Fraction(0)) * limit.quota / (
                limit.window_s * 1_000_000
            )
            assert abs(state.remaining - left) < 1
            assert 0 <= state.remaining <= limit.burst
            assert state.reset_s >= 0


@given(limits, steps)
def test_request_is_allowed_after_retry_after(
    limit: RateLimit, times: list[tuple[int, int]]
) -> None:
    model, now = Model([limit]), 0
    for wait, cost in times:
        now += wait
        (exact,), fits = model.take(now, cost)
        known = state_of(exact, limit)
        (state,) = gcra.report([limit], [known], cost)
        assert (state.retry_after_s == 0) == fits
        if not fits and max(cost, 1) <= limit.burst:
            assert gcra.fits(limit, after(known, state.retry_after_s), max(cost, 1))


@given(st.lists(limits, min_size=1, max_size=3), st.integers(1, 2000))
def test_smallest_burst_is_allowed_at_one_instant(several: list[RateLimit], requested: int) -> None:
    known, passed = [state_of(Fraction(0), limit) for limit in several], 0
    for _ in range(min(requested, 60)):
        if gcra.allows(several, known, 1):
            known = [
                gcra.counted(*state, 1, gcra.interval_us(limit))
                for state, limit in zip(known, several, strict=True)
            ]
            passed += 1
    assert passed == min(min(limit.burst for limit in several), min(requested, 60))


def test_cost_above_burst_is_never_allowed() -> None:
    (state,) = gcra.report((TWO_A_SECOND,), (state_of(Fraction(0), TWO_A_SECOND),), 3)
    assert (state.exceeded, state.retry_after_s) == (True, 0.5)


# Changes of a limit


def after(state: gcra.State, seconds: float) -> gcra.State:
    ahead, unit = state
    return max(ahead - seconds * 1_000_000, 0.0), unit


class Limiter:
    """One limit, whose definition changes between requests, without time for the requests."""

    def __init__(self) -> None:
        self.state: gcra.State = (0.0, 1.0)

    def take(self, limit: RateLimit, cost: int = 1) -> RateLimitState:
        interval = gcra.interval_us(limit)
        self.state = before = gcra.checked(self.state, interval)
        if gcra.allows([limit], [before], cost):
            self.state = gcra.counted(*before, cost * limit.cost, interval)
        (state,) = gcra.report([limit], [before], cost)
        return state


@given(st.lists(st.tuples(limits, st.integers(0, 60)), min_size=1, max_size=8), limits)
def test_changed_limit_has_as_many_units_less_as_were_used(
    sequence: list[tuple[RateLimit, int]], last: RateLimit
) -> None:
    limiter, used = Limiter(), 0
    for limit, requests in sequence:
        used += sum(not limiter.take(limit).exceeded for _ in range(requests))
        assert used <= max(each.burst for each, _ in sequence)
    assert limiter.take(last, 0).remaining == max(last.burst - used, 0)


@given(limits, limits, st.integers(1, 60), st.floats(0, 3600), st.integers(1, 4))
def test_raised_limit_never_denies_longer(
    one: RateLimit, other: RateLimit, requests: int, wait_s: float, cost: int
) -> None:
    lower, higher = sorted((one, other), key=gcra.interval_us, reverse=True)
    higher = msgspec.structs.replace(higher, burst=max(one.burst, other.burst))
    limiter = Limiter()
    for _ in range(requests):
        limiter.take(lower)
    limiter.state = after(limiter.state, wait_s)
    (before,) = gcra.report([lower], [limiter.state], cost)
    state = limiter.take(higher, cost)
    if cost <= lower.burst:
        assert state.retry_after_s <= before.retry_after_s + 1e-6
    assert state.retry_after_s <= (requests + cost) * gcra.interval_us(higher) / 1_000_000 + 1e-6


@given(st.lists(st.tuples(limits, st.floats(0, 600)), min_size=2, max_size=8))
def test_request_is_allowed_after_retry_after_also_if_the_limit_has_changed(
    sequence: list[tuple[RateLimit, float]],
) -> None:
    limiter = Limiter()
    for limit, wait_s in sequence:
        limiter.state = after(limiter.state, wait_s)
        for _ in range(limit.burst + 1):
            denied = limiter.take(limit)
            if denied.exceeded:
                break
        limiter.state = after(limiter.state, denied.retry_after_s)
        assert not limiter.take(limit).exceeded


@given(limits, limits, st.integers(1, 60))
def test_lowered_limit_denies_no_longer_than_the_earlier_limit_was_used(
    earlier: RateLimit, later: RateLimit, requests: int
) -> None:
    limiter = Limiter()
    for _ in range(requests):
        reset_s = limiter.take(earlier).reset_s
    assert limiter.take(later).retry_after_s <= reset_s
