"""Counts requests in a worker before Redis counts them. Pure: the caller passes the time.

A worker decides from the last state that Redis reported and from the requests that it has allowed
since then, and reports them afterwards. Until Redis confirms them, they are at most a share of
each limit (`share_us`). Beyond the share, Redis decides. If the share is smaller than the cost of a
request, as with a burst below 10, Redis therefore decides on each request that may be allowed.

n workers exceed a limit by at most n shares. Redis allows a request only if its counter stays
within the burst, and the counter contains all confirmed requests. While the counter is within the
burst, the unconfirmed requests are at most n shares. While it is beyond the burst, each worker adds
at most one share: the reply to its next report contains the counter, and the worker allows nothing
until the counter is within the burst again. A request counts in Redis when it is reported, which is
later than it was allowed, so the delay never makes a limit larger.

Times are microseconds.
"""

import sys
from collections import OrderedDict
from functools import lru_cache

import msgspec

from gatehouse.core import gcra
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import Charge, RateLimitState

#: The share of a worker is 1 / BURST_PART of the burst, and at most UNITS_MAX units.
BURST_PART = 10
UNITS_MAX = 1000
#: Maximum number of key families with counters in a worker. The counters of the least recently used
#: family are deleted first.
FAMILIES_MAX = 100_000

#: A limit and the numbers of a request of a certain cost: the limit, `interval_us`, `move_us`,
#: `room_us` and the burst with the rounding tolerance, and `share_us`. Unpacking a tuple takes less
#: time than a NamedTuple.
Step = tuple[RateLimit, float, float, float, float, float]


def share_us(limit: RateLimit) -> float:
    """How far requests that Redis has not confirmed may advance a limit."""
    share = min(limit.burst / BURST_PART, UNITS_MAX) * gcra.interval_us(limit)
    return share * (1 + 1e-9)  # a tenth of a burst of 10 is one request in spite of rounding


@lru_cache(maxsize=1_000)  # many keys have the same limits
def steps(limits: tuple[RateLimit, ...], cost: int) -> tuple[Step, ...]:
    return tuple([_step(limit, cost) for limit in limits])


def _step(limit: RateLimit, cost: int) -> Step:
    interval, slack = gcra.interval_us(limit), gcra.SLACK_US
    room, burst = gcra.room_us(limit, cost) + slack, limit.burst * interval + slack
    return limit, interval, gcra.move_us(limit, cost), room, burst, share_us(limit)


class Counter(msgspec.Struct, gc=False, eq=False):
    """State of one limit of a key family in a worker. The garbage collector tracks neither counters
    nor families, because a worker has many of them (see `KeyRecord`).

    arrival: theoretical arrival time on the worker's clock, with every request that the worker
        knows. Replies of Redis never reduce it, so a used-up limit stays used up if Redis loses
        data.
    unsent, sent: how far the requests advance the limit that have not been sent to Redis, and those
        that have been sent and are not confirmed.
    share: `share_us` of the limit.
    """

    name: str
    arrival: float = 0.0
    unsent: float = 0.0
    sent: float = 0.0
    share: float = 0.0

    def count(self, move: float, now: float) -> None:
        arrival = self.arrival
        self.arrival = (arrival if arrival > now else now) + move
        self.unsent += move

    def unreported(self, now: float) -> float:
        """How far the unsent requests still advance the limit. They exceed the share only if the
        worker counted without Redis. Then, units have become available again in the meantime.
        """
        unsent, share = self.unsent, self.share
        return unsent if unsent <= share else min(unsent, max(self.arrival - now, share))

    def send(self, now: float) -> float:
        """The unsent requests become sent. Returns how far they advance the limit."""
        move = self.unreported(now)
        self.unsent, self.sent = 0.0, self.sent + move
        return move

    def confirm(self, move: float) -> None:
        """Redis has counted `move` of the sent requests."""
        self.sent = max(self.sent - move, 0.0)

    def learn(self, ahead: float, now: float) -> None:
        """Redis has replied that its counter is `ahead`, with all requests that it has counted."""
        known = now + ahead + self.sent + self.unreported(now)
        self.arrival = max(self.arrival, known)

    def resend(self, move: float) -> None:
        """An unsent request counts as sent."""
        self.unsent, self.sent = max(self.unsent - move, 0.0), self.sent + move


class Family(msgspec.Struct, gc=False, eq=False):
    """The counters of a key family in a worker.

    current: the counters for the last charge, because most charges of a family are the same.
    has_unsent: requests have not been sent. is_urgent: they have used half of the share.
    """

    subject: str
    counters: tuple[Counter, ...] = ()
    current: tuple[Counter, ...] = ()
    has_unsent: bool = False
    is_urgent: bool = False
    _limits: tuple[RateLimit, ...] = ()
    _cost: int = 0
    _steps: tuple[Step, ...] = ()

    def take(
        self, charge: Charge, now: float, *, degraded: bool
    ) -> tuple[RateLimitState, ...] | None:
        """Decides on a charge, and counts it if all limits allow it. Returns one state per limit,
        or None without any effect if Redis has to decide. degraded: Redis is unavailable, so the
        worker decides alone.
        """
        if charge.limits is not self._limits or charge.cost != self._cost:
            self._prepare(charge, now, degraded=degraded)
        states, decides = [], True
        for (limit, interval, move, room, burst, share), counter in zip(
            self._steps, self.current, strict=True
        ):
            ahead_us = counter.arrival - now
            if ahead_us < 0.0:
                ahead_us = 0.0
            if ahead_us > room:
                ahead = [max(each.arrival - now, 0.0) for each in self.current]
                return gcra.report(charge.limits, ahead, charge.cost, degraded=degraded)
            if not move or counter.unsent + counter.sent + move > share:
                decides = degraded
            states.append(gcra.allowed(limit, interval, burst, ahead_us + move, degraded))
        if not decides:
            return None
        if charge.cost:
            for (_, _, move, _, _, share), counter in zip(self._steps, self.current, strict=True):
                counter.count(move, now)
                if counter.unsent * 2 > share >= (counter.unsent - move) * 2:
                    self.is_urgent = True
            self.has_unsent = True
        return tuple(states)

    def send(self, now: float) -> list[tuple[Counter, float]]:
        """The counters with unsent requests, which become sent, and how far they advance the
        limits.
        """
        self.has_unsent = self.is_urgent = False
        return [(counter, counter.send(now)) for counter in self.counters if counter.unsent]

    def _prepare(self, charge: Charge, now: float, *, degraded: bool) -> None:
        """Finds the counters for a charge. Removes other counters that have no effect any more."""
        known, found = {counter.name: counter for counter in self.counters}, []
        for limit in charge.limits:
            # A limit with another window has another counter: it could be ahead by 31 days.
            name = sys.intern(f"{limit.name}:{limit.window_s}")
            counter = known.pop(name, None) or Counter(name)
            counter.share = share_us(limit)
            found.append(counter)
        kept = [
            each
            for each in known.values()
            if each.arrival > now or each.sent or (each.unsent and not degraded)
        ]
        self._limits, self._cost = charge.limits, charge.cost
        self.current, self._steps = tuple(found), steps(charge.limits, charge.cost)
        self.counters = self.current + tuple(kept)  # the same tuple if there are no others


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
