"""Counting in workers, compared with a model and an exact count."""

from fractions import Fraction

import pytest
from gatehouse.core.keys import RateLimit
from gatehouse.core.limits import gcra
from gatehouse.core.limits.ledger import (
    FAMILIES_MAX,
    UNITS_MAX,
    Counter,
    Families,
    Family,
    allowance,
    take,
)
from gatehouse.core.verification import Charge
from hypothesis import given
from hypothesis import strategies as st


def limit_of(quota: int, window_s: int, name: str = "requests", *, cost: int = 1) -> RateLimit:
    return RateLimit(name=name, quota=quota, window_s=window_s, burst=quota, cost=cost)


DAY = limit_of(1000, 86_400)


def charge(*limits: RateLimit, cost: int = 1) -> Charge:
    return Charge(subject="family", limits=limits, cost=cost)


def family() -> Family:
    return Family("family")


def passed(worker: Family, request: Charge, now: float, *, degraded: bool = False) -> int:
    """The number of requests that the worker allows until it denies one or Redis must decide."""
    count = 0
    while True:
        states = take(request, [worker], now, degraded=degraded)
        if states is None or any(state.exceeded for state in states):
            return count
        count += 1


class Redis:
    """Model of the script: states by name of the limit, on another clock."""

    def __init__(self, clock_us: int = 0) -> None:
        self.clock_us = clock_us
        self.arrivals: dict[str, gcra.State] = {}

    def read(self, name: str, interval: float, now: float) -> gcra.State:
        arrival, unit = self.arrivals.get(name, (0.0, interval))
        return self.write(name, gcra.checked((self.ahead(arrival, now), unit), interval), now)

    def write(self, name: str, state: gcra.State, now: float) -> gcra.State:
        self.arrivals[name] = (now + self.clock_us + state[0], state[1])
        return state

    def ahead(self, arrival: float, now: float) -> float:
        return max(arrival - now - self.clock_us, 0.0)

    def used(self, name: str, now: float) -> float:
        arrival, unit = self.arrivals.get(name, (0.0, 1.0))
        return self.ahead(arrival, now) / unit

    def count(self, name: str, units: float, interval: float, now: float) -> gcra.State:
        state = self.read(name, interval, now)
        return self.write(name, gcra.counted(*state, units, interval), now)

    def decide(self, request: Charge, now: float) -> tuple[list[gcra.State], bool]:
        limits, cost = request.limits, request.cost
        before = [self.read(limit.name, gcra.interval_us(limit), now) for limit in limits]
        allows = gcra.allows(limits, before, cost)
        for limit in limits if allows else ():
            self.count(limit.name, cost * limit.cost, gcra.interval_us(limit), now)
        return before, allows


class Worker:
    """A worker. Its reports reach Redis, and the replies reach the worker, some steps later."""

    def __init__(self) -> None:
        self.family = family()
        self.report: list[tuple[Counter, float]] = []
        self.reply: list[tuple[Counter, float, gcra.State]] = []

    def take(self, request: Charge, redis: Redis, now: float) -> bool:
        states = take(request, [self.family], now, degraded=False)
        if states is not None:
            return not any(state.exceeded for state in states)
        self.exchange(redis, now)
        before, allows = redis.decide(request, now)
        for limit, state, counter in zip(request.limits, before, self.family.current, strict=True):
            units, interval = request.cost * limit.cost, gcra.interval_us(limit)
            counter.learn(gcra.counted(*state, units, interval) if allows else state, now)
        return allows

    def send(self, now: float) -> None:
        if not self.report and not self.reply:
            self.report = self.family.send(now)

    def arrive(self, redis: Redis, now: float) -> None:
        report, self.report = self.report, []
        for counter, units in report:
            state = redis.count(counter.name, units, counter.interval, now)
            self.reply.append((counter, units, state))

    def receive(self, now: float) -> None:
        reply, self.reply = self.reply, []
        for counter, units, state in reply:
            counter.confirm(units)
            counter.learn(state, now)

    def exchange(self, redis: Redis, now: float) -> None:
        for _ in range(2):
            self.arrive(redis, now)
            self.receive(now)
            self.send(now)
        self.arrive(redis, now)
        self.receive(now)


class Exact:
    def __init__(self, limits: tuple[RateLimit, ...]) -> None:
        self.limits = limits
        self.arrivals = [Fraction(0)] * len(limits)

    def count(self, cost: int, now: int) -> list[Fraction]:
        ahead = []
        for index, limit in enumerate(self.limits):
            interval = Fraction(limit.window_s * 1_000_000, limit.quota)
            arrival = max(self.arrivals[index], Fraction(now)) + cost * limit.cost * interval
            self.arrivals[index] = arrival
            ahead.append((arrival - now) / interval)
        return ahead


limits = st.builds(
    RateLimit,
    name=st.sampled_from(["a", "b"]),
    quota=st.integers(1, 200),
    window_s=st.integers(1, 60),
    burst=st.integers(1, 80),
    cost=st.integers(0, 2),
)
several_limits = st.lists(limits, min_size=1, max_size=2, unique_by=lambda limit: limit.name)
WORKERS = 3
steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "send", "arrive", "receive"]),
        st.integers(0, WORKERS - 1),
        st.integers(0, 40),
        st.one_of(st.just(0), st.integers(0, 3_000_000)),
    ),
    max_size=60,
)


@given(several_limits.map(tuple), st.integers(1, 2), st.integers(0, 10**14), steps)
def test_workers_exceed_a_limit_by_one_share_each(
    several: tuple[RateLimit, ...],
    cost: int,
    clock_us: int,
    sequence: list[tuple[str, int, int, int]],
) -> None:
    redis, exact, now = Redis(clock_us), Exact(several), 0
    workers, request = [Worker() for _ in range(WORKERS)], charge(*several, cost=cost)
    for action, index, count, wait in sequence:
        now += wait
        worker = workers[index]
        if action == "send":
            worker.send(now)
        elif action == "arrive":
            worker.arrive(redis, now)
        elif action == "receive":
            worker.receive(now)
        for _ in range(count if action == "take" else 0):
            if worker.take(request, redis, now):
                for ahead, limit in zip(exact.count(cost, now), several, strict=True):
                    assert ahead <= limit.burst + WORKERS * allowance(limit) + 1e-3
                    if limit.cost * cost > allowance(limit):
                        assert ahead <= limit.burst + 1e-3
    for worker in workers:
        worker.exchange(redis, now)
    for limit, arrival in zip(several, exact.arrivals, strict=True):
        # Redis counts every request, and none earlier than it was allowed.
        assert redis.used(limit.name, now) * gcra.interval_us(limit) >= arrival - now - 1


definitions = st.builds(
    RateLimit,
    name=st.just("requests"),
    quota=st.integers(1, 200),
    window_s=st.integers(1, 60),
    burst=st.integers(1, 80),
)


@given(st.lists(definitions, min_size=2, max_size=4), st.integers(0, 10**14), st.data())
def test_workers_exceed_a_changing_limit_by_one_share_each(
    several: list[RateLimit], clock_us: int, data: st.DataObject
) -> None:
    """Each worker knows another definition at any time. The limit with their largest rate and burst
    is exceeded by at most one allowance for each worker."""
    fastest = min(several, key=gcra.interval_us)
    burst, part = max(each.burst for each in several), max(allowance(each) for each in several)
    redis, exact, now = Redis(clock_us), Exact((fastest,)), 0
    workers = [Worker() for _ in range(WORKERS)]
    for action, index, count, wait in data.draw(steps):
        now += wait
        worker = workers[index]
        if action == "send":
            worker.send(now)
        elif action == "arrive":
            worker.arrive(redis, now)
        elif action == "receive":
            worker.receive(now)
        elif count:
            limit = data.draw(st.sampled_from(several))
            request = charge(limit)
            for _ in range(count):
                if worker.take(request, redis, now):
                    (units,) = exact.count(1, now)
                    assert units <= burst + WORKERS * part + 1e-3


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=20))
def test_every_allowed_request_is_sent_once(sequence: list[tuple[int, bool]]) -> None:
    worker, redis, allowed = Worker(), Redis(), 0
    for count, sends in sequence:
        allowed += sum(worker.take(charge(DAY), redis, 0.0) for _ in range(count))
        if sends:
            worker.exchange(redis, 0.0)
    worker.exchange(redis, 0.0)
    assert redis.used("requests", 0.0) == pytest.approx(allowed)
    assert not any(counter.unsent or counter.sent for counter in worker.family.counters)


@pytest.mark.parametrize(
    ("limits", "cost", "allowance"),
    [
        ([DAY], 1, 100),
        ([DAY], 50, 2),
        ([DAY], 101, 0),
        ([DAY], 0, 0),
        ([limit_of(9, 86_400)], 1, 0),
        ([DAY, limit_of(100, 3600, "hour")], 1, 10),  # the smallest allowance of several limits
        ([DAY, limit_of(9, 3600, "hour")], 1, 0),
        ([DAY, limit_of(9, 3600, "free", cost=0)], 1, 0),  # a limit that counts nothing
        ([limit_of(1_000_000, 60)], 1, UNITS_MAX),
    ],
)
def test_unknown_limits_allow_their_share_at_once(
    limits: list[RateLimit], cost: int, allowance: int
) -> None:
    assert passed(family(), charge(*limits, cost=cost), 0.0) == allowance


def used(limit: RateLimit, units: int) -> gcra.State:
    return units * gcra.interval_us(limit), gcra.interval_us(limit)


def test_requests_in_flight_use_the_share() -> None:
    worker, request = family(), charge(DAY)
    assert passed(worker, request, 0.0) == 100
    [(counter, units)] = worker.send(0.0)
    assert passed(worker, request, 0.0) == 0
    counter.confirm(units)
    counter.learn(used(DAY, 100), 0.0)
    assert passed(worker, request, 0.0) == 100


def test_denied_request_counts_against_no_limit() -> None:
    worker, full = family(), limit_of(100, 60, "full")
    request = charge(DAY, full)
    assert passed(worker, request, 0.0) == 10
    worker.current[1].learn(used(full, 100), 0.0)
    before = [(counter.arrival, counter.unsent) for counter in worker.counters]
    assert passed(worker, request, 0.0) == 0
    assert [(counter.arrival, counter.unsent) for counter in worker.counters] == before


def test_reply_adds_to_the_requests_that_are_not_confirmed() -> None:
    worker, request = family(), charge(DAY)
    for _ in range(10):
        take(request, [worker], 0.0, degraded=False)
    [(counter, units)] = worker.send(0.0)
    take(request, [worker], 0.0, degraded=False)
    counter.learn(used(DAY, 500), 0.0)
    states = take(request, [worker], 0.0, degraded=False)
    assert states is not None
    assert states[0].remaining == 1000 - 500 - 10 - 2
    counter.confirm(units)
    counter.learn(used(DAY, 510), 0.0)
    states = take(request, [worker], 0.0, degraded=False)
    assert states is not None
    assert states[0].remaining == 1000 - 500 - 10 - 3


def test_slow_requests_are_sent_in_full() -> None:
    fast, worker = limit_of(1000, 1, "second"), family()
    for number in range(30):
        take(charge(fast), [worker], number * 2_000.0, degraded=False)
    [(_, units)] = worker.send(60_000.0)
    assert units == 30


def test_lowered_limit_sends_what_the_earlier_allowed() -> None:
    worker, smaller = family(), RateLimit(name="requests", quota=1000, window_s=86_400, burst=50)
    assert passed(worker, charge(DAY), 0.0) == 100
    states = take(charge(smaller), [worker], 0.0, degraded=False)
    assert states is not None
    assert states[0].exceeded
    [(counter, units)] = worker.send(80e6)
    assert (counter.name, units) == ("requests", 100)


def test_redis_decides_after_a_limit_was_raised() -> None:
    """The used units become available again at the rate of the earlier limit."""
    worker, larger = (
        family(),
        RateLimit(name="requests", quota=1_000_000, window_s=86_400, burst=1000),
    )
    assert take(charge(DAY), [worker], 0.0, degraded=False) is not None
    assert allowance(larger) > 2  # the share is not what prevents a decision
    assert take(charge(larger), [worker], 1.0, degraded=False) is None
    assert take(charge(larger), [worker], 1.0, degraded=True) is not None


@given(st.lists(st.integers(0, 3_600_000_000), max_size=30), st.integers(1, 100))
def test_requests_without_redis_are_sent_as_far_as_they_still_count(
    waits: list[int], requests: int
) -> None:
    """After hours without Redis, a key that stayed within its limit is not denied."""
    minute = limit_of(1000, 60, "minute")
    worker, now = family(), 0
    for wait in waits:
        now += wait
        for _ in range(requests):
            take(charge(minute), [worker], now, degraded=True)
    left = max((counter.arrival - now for counter in worker.counters), default=0.0)
    left_units = left / gcra.interval_us(minute)
    assert sum(units for _, units in worker.send(now)) <= max(left_units, allowance(minute))


def test_expired_counters_are_removed_without_redis() -> None:
    worker = family()
    for number in range(1000):
        second = limit_of(1, 1, f"name{number}")
        states = take(charge(DAY, second), [worker], number * 1e6, degraded=True)
        assert states is not None
        assert not any(state.exceeded for state in states)
    assert len(worker.counters) <= 3


def test_counters_are_bounded() -> None:
    families = Families()
    first, second = families.find("first"), families.find("second")
    families.unsent |= {"first": first, "second": second}
    assert families.find("first") is first
    for number in range(FAMILIES_MAX - 1):
        families.find(str(number))
    assert families.find("first") is first
    assert families.find("second") is not second
    assert families.unsent == {"first": first}
