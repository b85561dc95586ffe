"""Rate limit arithmetic compared with an exact model."""

from fractions import Fraction

from gatehouse.core import gcra
from gatehouse.core.keys import RateLimit
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


@given(st.lists(limits, min_size=1, max_size=3, unique_by=lambda limit: limit.name), steps)
def test_limits_match_exact_model(several: list[RateLimit], times: list[tuple[int, int]]) -> None:
    model, now = Model(several), 0
    for wait, cost in times:
        now += wait
        exact, fits = model.take(now, cost)
        ahead = [float(number) for number in exact]
        assert gcra.allows(several, ahead, cost) == fits
        states = gcra.report(several, ahead, cost)
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
        (state,) = gcra.report([limit], [float(exact)], cost)
        assert (state.retry_after_s == 0) == fits
        if not fits and max(cost, 1) <= limit.burst:
            later = max(float(exact) - state.retry_after_s * 1_000_000, 0.0)
            assert gcra.fits(limit, later, max(cost, 1))


@given(st.lists(limits, min_size=1, max_size=3), st.integers(1, 2000))
def test_smallest_burst_is_allowed_at_one_instant(several: list[RateLimit], requested: int) -> None:
    ahead, passed = [0.0] * len(several), 0
    for _ in range(min(requested, 60)):
        if gcra.allows(several, ahead, 1):
            ahead = [
                number + gcra.interval_us(limit)
                for number, limit in zip(ahead, several, strict=True)
            ]
            passed += 1
    assert passed == min(min(limit.burst for limit in several), min(requested, 60))


def test_cost_above_burst_is_never_allowed() -> None:
    (state,) = gcra.report((TWO_A_SECOND,), (0.0,), 3)
    assert (state.exceeded, state.retry_after_s) == (True, 0.5)
