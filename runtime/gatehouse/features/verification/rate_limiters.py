"""Counts requests against rate limits: in the memory of a worker first (core/limits/ledger.py), and
in Redis or Valkey afterwards, across workers.

A worker reports what it has allowed after EXCHANGE_S at most, and earlier if that is half of its
share of a limit. One script call reports many key families, and the reply contains the counters,
from which the next decisions continue. A request that Redis must decide joins the next call. The
script uses the clock of the server. The name of a counter consists of the name of the limit and the
ID of the key family. The name contains neither the token nor a configuration version, which would
split the counter between workers after each change.

The requests of a call without a reply are reported again, so they can count twice. While Redis is
unavailable, the setting determines the fallback. With `deny`, requests are denied. With `local`,
and without Redis, each worker decides alone and marks the states as `degraded`, so n workers
together allow up to n times the limit. Redis counts these requests as soon as it is available.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from gatehouse.core.errors import Unavailable
from gatehouse.core.limits import gcra
from gatehouse.core.limits.ledger import Counter, Families, Family, take
from gatehouse.core.verification import Charge, RateLimitState
from gatehouse.platform.redis.connection import Redis
from gatehouse.platform.settings import OnError

#: Names of the counters begin with a prefix and a hash tag, with which a cluster permits a call to
#: access all of them.
KEY_PREFIX = "gatehouse:limit:"
#: Seconds after which a worker reports the requests that it has allowed.
EXCHANGE_S = 0.05
#: Seconds after which a worker calls Redis again that was unavailable.
RETRY_S = 0.5
#: Maximum number of requests, and of reported counters, in a call, which therefore takes less than
#: 2 ms of CPU time.
BATCH_MAX = 64
#: Timeout of the first call, for which the credentials of the task role are fetched.
START_TIMEOUT_S = 2.0
#: Timeout for removing the counters of a subject.
FORGET_TIMEOUT_S = 10.0

# ARGV[1] contains the entries in MessagePack: whether Redis decides on the entry, or it has been
# allowed; and the units, `room` and `interval_us` of each limit (core/limits/gcra.py; its functions
# `checked` and `counted` are repeated here). KEYS contains the counters in the same order, each of
# which is a theoretical arrival time and `unit_us`. The script returns `ahead_us` and `unit_us` of
# each limit, in MessagePack: before the entry if Redis decides, otherwise after it. Times are
# relative to 2024, because a double represents such times to better than 0.01 us, but the current
# Unix time only to 0.25 us. If the clock is set back, a limit can deny until its counter expires.
SCRIPT = f"""
local clock = redis.call('TIME')
local now = (tonumber(clock[1]) - 1704067200) * 1000000 + tonumber(clock[2])
local result, key = {{}}, 0
for _, entry in ipairs(cmsgpack.unpack(ARGV[1])) do
  local decides, limits = unpack(entry)
  local counts, states = true, {{}}
  for i, limit in ipairs(limits) do
    local _, room, interval = unpack(limit)
    local counter = redis.call('GET', KEYS[key + i])
    local arrival, unit = unpack(counter and cmsgpack.unpack(counter) or {{0, interval}})
    local ahead = math.max(arrival - now, 0)
    local changes = interval < unit
    if changes then ahead, unit = ahead * (interval / unit), interval end
    states[i] = {{ahead, unit, changes}}
    if decides and ahead > room * unit + {gcra.SLACK_US} then counts = false end
  end
  for i, limit in ipairs(limits) do
    local units, _, interval = unpack(limit)
    local ahead, unit, changes = unpack(states[i])
    local after, unit_after = ahead, unit
    if counts and units > 0 then
      after, unit_after, changes = ahead * (interval / unit) + units * interval, interval, true
    end
    if changes then
      local expiry = math.ceil(after / 1000) + 1000
      redis.call('SET', KEYS[key + i], cmsgpack.pack({{now + after, unit_after}}), 'PX', expiry)
    end
    if not decides then ahead, unit = after, unit_after end
    result[#result + 1] = ahead
    result[#result + 1] = unit
  end
  key = key + #limits
end
return cmsgpack.pack(result)
"""

_decode_reply = msgspec.msgpack.Decoder(list[float]).decode

#: One state per limit. None: Redis has not decided.
_States = tuple[RateLimitState, ...] | None


@dataclass(slots=True, eq=False)
class _Entry:
    """An entry of a script call: requests of a key family, or of a customer.

    subjects, counters: of each limit. In entries without a charge, the subjects are the same.
    numbers: units, `room` and `interval_us` of each limit.
    charge: the charge on which Redis decides, or None for requests that have been allowed.
    decision: result of the charge. None: there is no charge.
    """

    subjects: Sequence[str]
    counters: Sequence[Counter]
    numbers: Sequence[tuple[float, int, float]]
    charge: Charge | None = None
    decision: asyncio.Future[_States] | None = None


class RateLimits:
    """Rate limiter of a worker. redis: None if each worker counts alone. `on_degraded` is called
    with the name of the error when Redis becomes unavailable.

    hash_tag: the part of the names in Redis that selects the shard of a cluster.
    degraded: the worker counts without Redis.
    """

    def __init__(
        self,
        redis: Redis | None = None,
        *,
        on_error: OnError = "local",
        on_degraded: Callable[[str], None] = lambda _: None,
        hash_tag: str = "0",
    ) -> None:
        self._redis = redis
        self._script = None if redis is None else redis.client.register_script(SCRIPT)
        self._on_error: OnError = "local" if redis is None else on_error
        self._on_degraded = on_degraded
        self._families = Families()
        self._timer: asyncio.TimerHandle | None = None
        self._prefix = f"{KEY_PREFIX}{{{hash_tag}}}:"
        #: Requests for the next call: entries on which Redis decides, families with unsent
        #: requests, and None for families with BATCH_MAX counters.
        self._waiting: list[_Entry | Family | None] = []
        self._calls: asyncio.Task[None] | None = None
        #: Entries of the call in flight.
        self._in_flight: list[_Entry] = []
        self.degraded = redis is None

    async def start(self) -> None:
        """Opens the connection and loads the script. After a failure, the worker counts without
        Redis until Redis is available.
        """
        if self._redis is not None:
            try:
                await self._redis.call(self._redis.client.script_load(SCRIPT), START_TIMEOUT_S)
            except Unavailable as exc:
                self._fail(exc.detail)

    async def close(self) -> None:
        """Reports the allowed requests if Redis is available."""
        await self._finish_calls()
        if not self.degraded:
            self._add(None)
            await self._finish_calls()
        if self._timer is not None:
            self._timer.cancel()

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...] | None:
        """Like `take`, but returns None without any effect if Redis must decide."""
        if self.degraded and self._on_error == "deny":
            return None
        return self._decide(charge, degraded=self.degraded)

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """Decides on a charge, and counts it if all limits allow it. Returns one state per limit,
        in order. Raises Unavailable if Redis is unavailable and the setting is `deny`."""
        states = self.take_now(charge)
        if states is not None:
            return states
        if not self.degraded:
            entry, decision = self._question(charge)
            self._add(entry)
            states = await decision
            if states is not None:
                return states
            if self._on_error == "local":
                return self._decide(charge, degraded=True) or ()
        detail = "Redis is unavailable and GATEHOUSE_LIMIT_ON_ERROR is deny"
        raise Unavailable("Rate limiting is temporarily unavailable.", detail=detail)

    async def forget(self, subject: str) -> bool:
        """Removes every counter of a subject from Redis. Returns False if Redis is unavailable, in
        which case the counters expire within their window.

        Scans all counters, because a limit may have been renamed while its counter still exists.
        Used by purges only.
        """
        if self._redis is None:
            return False
        client = self._redis.client

        async def remove() -> bool:
            async for name in client.scan_iter(f"{self._prefix}*:{subject}", count=1000):
                await client.unlink(name)
            return True

        try:
            return await self._redis.call(remove(), FORGET_TIMEOUT_S)
        except Unavailable:
            return False

    def _decide(self, charge: Charge, *, degraded: bool) -> tuple[RateLimitState, ...] | None:
        """Decides in this worker. Returns None without any effect if Redis must decide, which does
        not happen if `degraded`."""
        families = self._of(charge)
        states = take(charge, families, time.monotonic() * 1_000_000, degraded=degraded)
        if self._redis is not None:
            for family in families:
                if family.has_unsent:
                    self._families.unsent[family.subject] = family
                    if family.is_urgent and not degraded:
                        family.is_urgent = False
                        self._add(family)
                    self._exchange_later()
        return states

    def _of(self, charge: Charge) -> tuple[Family, ...]:
        find = self._families.find
        if not charge.others:
            return (find(charge.subject),)
        return find(charge.subject), *[find(subject) for subject, _ in charge.others]

    def _question(self, charge: Charge) -> tuple[_Entry, asyncio.Future[_States]]:
        """The entry for a charge on which Redis decides. `_decide` has found the counters."""
        decision: asyncio.Future[_States] = asyncio.Future()
        families = self._of(charge)
        numbers = [
            (units, room, interval)
            for family in families
            for _, interval, units, room, _ in family.steps
        ]
        counters = [counter for family in families for counter in family.current]
        subjects = [family.subject for family in families for _ in family.current]
        return _Entry(subjects, counters, numbers, charge, decision), decision

    def _exchange_later(self) -> None:
        if self._timer is None:
            seconds = RETRY_S if self.degraded else EXCHANGE_S
            self._timer = asyncio.get_running_loop().call_later(seconds, self._exchange)

    def _exchange(self) -> None:
        """Reports the allowed requests, or tries whether Redis is available again."""
        self._timer = None
        self._add(None)
        if self.degraded or self._families.unsent:
            self._exchange_later()

    def _add(self, request: _Entry | Family | None) -> None:
        """Adds a request to the next call, which begins when the call in flight has ended."""
        self._waiting.append(request)
        if self._calls is None and self._redis is not None:
            self._calls = asyncio.create_task(self._call(self._redis), name="rate limits")

    async def _finish_calls(self) -> None:
        while self._calls is not None:
            await asyncio.wait((self._calls,))

    async def _call(self, redis: Redis) -> None:
        assert self._script is not None  # noqa: S101 - there is a client
        try:
            while self._waiting:
                requests, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                self._continue(await redis.call(self._script(*self._encode(requests))))
        except Exception as exc:  # requests wait for the outcome
            self._fail(exc.detail if isinstance(exc, Unavailable) else type(exc).__name__)
        finally:
            self._calls = None

    def _encode(self, requests: list[_Entry | Family | None]) -> tuple[list[bytes], list[bytes]]:
        now = time.monotonic() * 1_000_000
        for request in requests:
            subjects: Iterable[str | None] = (None,)
            if isinstance(request, _Entry):
                subjects = dict.fromkeys(request.subjects)
            elif request is not None:
                subjects = (request.subject,)
            if not self.degraded:  # otherwise, the call has no reports
                for name in subjects:
                    self._send(name, now)
            if isinstance(request, _Entry):
                self._in_flight.append(request)
        keys, entries, prefix = list[bytes](), [], self._prefix
        for entry in self._in_flight:
            for counter, subject in zip(entry.counters, entry.subjects, strict=True):
                # The client takes longer to encode names.
                keys.append(f"{prefix}{counter.name}:{subject}".encode())
            entries.append((entry.charge is not None, entry.numbers))
        return keys, [msgspec.msgpack.encode(entries)]

    def _send(self, subject: str | None, now: float) -> None:
        """Adds the unsent requests of a family, or of families with BATCH_MAX counters, to the
        call.
        """
        unsent, count = self._families.unsent, 0
        for name in list(islice(unsent, BATCH_MAX)) if subject is None else [subject]:
            sent = unsent.pop(name).send(now) if name in unsent and count < BATCH_MAX else []
            if sent:
                count += len(sent)
                numbers = [(units, 0, counter.interval) for counter, units in sent]
                counters = [counter for counter, _ in sent]
                self._in_flight.append(_Entry([name] * len(sent), counters, numbers))

    def _continue(self, reply: bytes) -> None:
        reply_numbers = _decode_reply(reply)
        states = list(zip(reply_numbers[::2], reply_numbers[1::2], strict=True))
        if len(states) != sum(len(entry.counters) for entry in self._in_flight):
            raise ValueError("unexpected reply")
        position, now = 0, time.monotonic() * 1_000_000
        in_flight, self._in_flight, self.degraded = self._in_flight, [], False
        for entry in in_flight:  # first, because a counter in the reply can contain all of them
            if entry.charge is None:
                for counter, (units, _, _) in zip(entry.counters, entry.numbers, strict=True):
                    counter.confirm(units)
        for entry in in_flight:
            before = states[position : position + len(entry.counters)]
            position += len(entry.counters)
            charge = entry.charge
            limits = charge.all_limits if charge else ()
            counts = charge and gcra.allows(limits, before, charge.cost)
            for counter, (units, _, interval), state in zip(
                entry.counters, entry.numbers, before, strict=True
            ):
                counter.learn(gcra.counted(*state, units, interval) if counts else state, now)
            if charge is not None:
                _resolve(entry, gcra.report(limits, before, charge.cost))
        if len(states) >= BATCH_MAX:
            self._add(None)  # more families may be waiting

    def _fail(self, reason: str) -> None:
        """The requests that the call has reported are unsent again. Those on which Redis did not
        decide are decided here.
        """
        entries = [*self._in_flight, *(each for each in self._waiting if isinstance(each, _Entry))]
        for entry in self._in_flight:
            if entry.charge is None:
                for counter, (units, _, _) in zip(entry.counters, entry.numbers, strict=True):
                    counter.fail(units)
                subject = entry.subjects[0]
                family = self._families.unsent[subject] = self._families.find(subject)
                family.has_unsent = True
        self._in_flight, self._waiting = [], []
        if not self.degraded:
            self.degraded = True
            self._on_degraded(reason)
        for entry in entries:
            _resolve(entry, None)
        self._exchange_later()


def _resolve(entry: _Entry, states: _States) -> None:
    if entry.decision is not None and not entry.decision.done():  # the request was cancelled
        entry.decision.set_result(states)
