"""Counts requests in a worker before Redis counts them. Pure: the caller passes the time.

A worker decides from the last state that Redis reported and from the requests that it has allowed
since then, and reports them afterwards. Until Redis confirms them, they are at most an allowance of
each limit (`allowance`). Beyond the allowance, Redis decides. If the allowance is smaller than the
cost of a request, as with a burst below 10, Redis therefore decides on each request that may be
allowed.

n workers exceed a limit by at most n allowances. Redis allows a request only if its counter stays
within the burst, and the counter contains all confirmed requests. While the counter is within the
burst, the unconfirmed requests are at most n allowances. While it is beyond the burst, each worker
adds at most one allowance: the reply to its next report contains the counter, and the worker allows
nothing until the counter is within the burst again. A request counts in Redis when it is reported,
which is later than it was allowed, so the delay never makes a limit larger. Requests are reported
in units, so the bound also holds while a limit changes, with the larger of its rates, bursts and
allowances.

Times are microseconds.
"""

import sys
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from gatehouse.core.keys import RateLimit
from gatehouse.core.limits import gcra
from gatehouse.core.verification import Charge, RateLimitState

#: The allowance of a worker is 1 / BURST_PART of the burst, and at most UNITS_MAX units.
BURST_PART = 10
UNITS_MAX = 1000
#: Maximum number of subjects with counters in a worker. The counters of the least recently used
#: subject are deleted first.
FAMILIES_MAX = 100_000

#: A limit and the numbers of a request of a certain cost: the limit, `interval_us`, the units that
#: the request uses, `room` and `allowance`. Unpacking a tuple takes less time than a NamedTuple.
Step = tuple[RateLimit, float, int, int, float]


def allowance(limit: RateLimit) -> float:
    """The units that requests may use before Redis confirms them."""
    return min(limit.burst / BURST_PART, UNITS_MAX)


@lru_cache(maxsize=1_000)  # many keys have the same limits
def steps(limits: tuple[RateLimit, ...], cost: int) -> tuple[Step, ...]:
    return tuple([_step(limit, cost) for limit in limits])


def _step(limit: RateLimit, cost: int) -> Step:
    units, room = cost * limit.cost, gcra.room(limit, cost)
    return limit, gcra.interval_us(limit), units, room, allowance(limit)


class Counter(msgspec.Struct, gc=False, eq=False):
    """State of one limit of a key family in a worker. The garbage collector tracks neither counters
    nor families, because a worker has many of them (see `KeyRecord`).

    interval: `interval_us` of the limit. allowance: units that are sent in full.
    arrival, unit: theoretical arrival time on the worker's clock, and `unit_us` (gcra.py),
        with every request that the worker knows. Replies of Redis never reduce the used units, so
        a used-up limit stays used up if Redis loses data.
    unsent, sent: units of the requests that have not been sent to Redis, and of those that have
        been sent and are not confirmed.
    asks: Redis has to decide, because its units become available again at the rate of a limit that
        was lower.
    """

    name: str
    interval: float
    allowance: float
    unit: float
    arrival: float = 0.0
    unsent: float = 0.0
    sent: float = 0.0
    asks: bool = False

    def state(self, now: float) -> gcra.State:
        return max(self.arrival - now, 0.0), self.unit

    def change(self, state: gcra.State, now: float) -> None:
        ahead, self.unit = gcra.checked(state, self.interval)
        self.arrival, self.asks = now + ahead, self.unit < state[1]

    def count(self, state: gcra.State, units: int, now: float) -> None:
        """A request has used units. state: after the request."""
        ahead, self.unit = state
        self.arrival = now + ahead
        self.unsent += units

    def unreported(self, now: float) -> float:
        """The units of the unsent requests that are still used. They exceed the allowance only if
        the worker counted without Redis. Then, units have become available again in the meantime.
        """
        unsent, allowance = self.unsent, self.allowance
        if unsent <= allowance:
            return unsent
        return min(unsent, max((self.arrival - now) / self.unit, allowance))

    def send(self, now: float) -> float:
        """The unsent requests become sent. Returns their units."""
        units = self.unreported(now)
        self.unsent, self.sent = 0.0, self.sent + units
        return units

    def confirm(self, units: float) -> None:
        """Redis has counted units of the sent requests."""
        self.sent = max(self.sent - units, 0.0)

    def learn(self, state: gcra.State, now: float) -> None:
        """Redis has replied with its state, which contains all requests that it has counted."""
        ahead, unit = state
        known = ahead + (self.sent + self.unreported(now)) * unit
        own = max(self.arrival - now, 0.0) * (unit / self.unit)
        self.change((max(known, own), unit), now)

    def fail(self, units: float) -> None:
        """Redis may not have counted units of the sent requests, which are sent again."""
        self.sent, self.unsent = max(self.sent - units, 0.0), self.unsent + units


class Family(msgspec.Struct, gc=False, eq=False):
    """The counters of a subject in a worker: of a key family, or of a customer, whose keys share
    them.

    current, steps: the counters for the last charge, because most charges of a family are the same.
    has_unsent: requests have not been sent. is_urgent: they have used half of the allowance.
    """

    subject: str
    counters: tuple[Counter, ...] = ()
    current: tuple[Counter, ...] = ()
    has_unsent: bool = False
    is_urgent: bool = False
    steps: tuple[Step, ...] = ()
    _limits: tuple[RateLimit, ...] = ()
    _cost: int = 0

    def prepare(
        self, limits: tuple[RateLimit, ...], cost: int, now: float, *, degraded: bool
    ) -> None:
        """Finds the counters for requests with these limits and this cost."""
        if limits is not self._limits or cost != self._cost:
            self._prepare(limits, cost, now, degraded=degraded)

    def count(self, after: Sequence[gcra.State], now: float) -> None:
        """An allowed request has used its units. after: the states of the counters."""
        for (_, _, units, _, allowance), counter, state in zip(
            self.steps, self.current, after, strict=True
        ):
            counter.count(state, units, now)
            if counter.unsent * 2 > allowance >= (counter.unsent - units) * 2:
                self.is_urgent = True
        self.has_unsent = True

    def send(self, now: float) -> list[tuple[Counter, float]]:
        """The counters with unsent requests, which become sent, and the units of these."""
        self.has_unsent = self.is_urgent = False
        return [(counter, counter.send(now)) for counter in self.counters if counter.unsent]

    def _prepare(
        self, limits: tuple[RateLimit, ...], cost: int, now: float, *, degraded: bool
    ) -> None:
        """Also removes other counters that have no effect any more."""
        known, found = {counter.name: counter for counter in self.counters}, []
        self._limits, self._cost = limits, cost
        self.steps = steps(limits, cost)
        for limit, interval, _, _, allowance in self.steps:
            name = sys.intern(limit.name)
            counter = known.pop(name, None) or Counter(name, interval, allowance, interval)
            counter.interval = interval
            counter.allowance = max(allowance, min(counter.unsent, counter.allowance))
            if interval < counter.unit:
                counter.change(counter.state(now), now)
            found.append(counter)
        kept = [
            each
            for each in known.values()
            if each.arrival > now or each.sent or (each.unsent and not degraded)
        ]
        self.current = tuple(found)
        self.counters = self.current + tuple(kept)  # the same tuple if there are no others


def take(
    charge: Charge, families: Sequence[Family], now: float, *, degraded: bool
) -> tuple[RateLimitState, ...] | None:
    """Decides on a charge, and counts it if all limits allow it. Returns one state per limit, or
    None without any effect if Redis has to decide.

    families: of the subject of the charge, and of the others. degraded: Redis is unavailable, so
    the worker decides alone.
    """
    family = families[0]
    family.prepare(charge.limits, charge.cost, now, degraded=degraded)
    steps, counters = family.steps, family.current
    for other, (_, limits) in zip(families[1:], charge.others, strict=True):
        other.prepare(limits, charge.cost, now, degraded=degraded)
        steps += other.steps
        counters += other.current
    after, states, decides = [], [], True
    for (limit, interval, units, room, allowance), counter in zip(steps, counters, strict=True):
        if counter.asks and not degraded:
            return None
        ahead, unit = counter.arrival - now, counter.unit
        if ahead < 0.0:
            ahead = 0.0
        if ahead > room * unit + gcra.SLACK_US:
            known = [each.state(now) for each in counters]
            return gcra.report(charge.all_limits, known, charge.cost, degraded=degraded)
        if not units or counter.unsent + counter.sent + units > allowance:
            decides = degraded
        if unit == interval:  # in most cases; a call takes longer
            ahead += units * interval
        else:
            ahead, unit = gcra.counted(ahead, unit, units, interval)
        after.append((ahead, unit))
        states.append(gcra.allowed(limit, ahead, unit, degraded))
    if not decides:
        return None
    if charge.cost:
        start = 0
        for each in families:
            end = start + len(each.current)
            each.count(after[start:end], now)
            start = end
    return tuple(states)


class Families:
    """The counters of a worker. unsent: families with requests that have not been sent."""

    def __init__(self) -> None:
        self.unsent: dict[str, Family] = {}
        self._families: OrderedDict[str, Family] = OrderedDict()

    def find(self, subject: str) -> Family:
        """The counters of a family, which become the most recently used."""
        families = self._families
        family = families.get(subject)
        if family is not None:
            families.move_to_end(subject)
            return family
        family = families[subject] = Family(subject)
        if len(families) > FAMILIES_MAX:
            evicted, _ = families.popitem(last=False)
            self.unsent.pop(evicted, None)
        return family
