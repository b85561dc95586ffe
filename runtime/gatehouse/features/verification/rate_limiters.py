"""Two rate limiters. One counts in Redis or Valkey, across workers. The other counts in the memory
of each worker if Redis is not configured or fails.

All waiting requests are sent in one call of a script (redis/batches.py), which uses the clock of
the server. The name of a counter consists of the name of the limit and the ID of the key family.
The name contains neither the token nor a configuration version, which would split the counter
between workers after each change.

A worker that counts many requests for one key leases requests in advance (verification/leases.py),
so that most of them do not wait for Redis. The script then also counts up to a tenth of the
requests that the limits still allow, and the worker counts the leased requests in its memory.

While Redis is unavailable, the setting determines the fallback (local approximation or denial). The
local counters continue from the last state that Redis reported to this worker, so that a used-up
limit stays used up. Redis must have a single shard (cluster mode disabled), because the script
accesses the counters of many keys at once.

A local limiter marks the states as `degraded`. Each worker counts independently, so n workers
together allow up to n times the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gatehouse.core import gcra
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import ADDITIONAL_MAX, Charge, RateLimitState
from gatehouse.features.verification.leases import LEASE_S, Leases
from gatehouse.platform.redis.batches import ScriptBatches
from gatehouse.platform.redis.connection import (
    OPEN_TIMEOUT_S,
    RedisConnection,
    RedisLogin,
    RedisReplyError,
    Reply,
    Script,
)
from gatehouse.platform.settings import OnError

KEY_PREFIX = "gatehouse:limit:"
#: A lease contains at most 1 / LEASED_PART of the requests that the limits still allow. Other
#: workers can use the rest.
LEASED_PART = 10
FORGET_TIMEOUT_S = 2.0

# ARGV contains, for each request: the number of limits; the number of the key's own limits, which
# come first; 1 if the request itself is counted, otherwise 0; the number of requests to lease
# (negative: to return); and `move_us` and `room_us` of each limit (verification/gcra.py). KEYS
# contains the counters in the same order. A request with additional limits has one more key, the
# sorted set of the names of the family's additional counters by expiry. For each request, the
# script returns the number of granted requests, and `ahead_us` of each limit before the request.
# The numbers are returned as text, because Lua numbers become integers in replies. Times are
# relative to 2024, because a double represents such times to better than 0.01 us, but the current
# Unix time only to 0.25 us. `%.4f` is used instead of tostring, which keeps only 14 digits and
# would lose the microseconds.
SCRIPT = Script(f"""
local clock = redis.call('TIME')
local now = (tonumber(clock[1]) - 1704067200) * 1000000 + tonumber(clock[2])
local result, key, argument = {{}}, 0, 1
while argument <= #ARGV do
  local limits, own = tonumber(ARGV[argument]), tonumber(ARGV[argument + 1])
  local counted, lease = tonumber(ARGV[argument + 2]), tonumber(ARGV[argument + 3])
  argument = argument + 4
  local ahead, move, room, names = {{}}, {{}}, {{}}, nil
  for i = 1, limits do
    move[i], room[i] = tonumber(ARGV[argument + 2 * i - 2]), tonumber(ARGV[argument + 2 * i - 1])
    ahead[i] = math.max(tonumber(redis.call('GET', KEYS[key + i]) or '0') - now, 0)
  end
  if own < limits then
    names = KEYS[key + limits + 1]
    redis.call('ZREMRANGEBYSCORE', names, '-inf', now)
    local free = {ADDITIONAL_MAX} - redis.call('ZCARD', names)
    for i = own + 1, limits do
      if move[i] > 0 and not redis.call('ZSCORE', names, KEYS[key + i]) then
        free = free - 1
        if free < 0 then
          local first = redis.call('ZRANGE', names, 0, 0, 'WITHSCORES')
          ahead[i] = math.max(room[i], 0) + math.max(tonumber(first[2] or now) - now, 1000000)
        end
      end
    end
  end
  local passes, position = counted == 1, #result + 1
  result[position] = '0'
  for i = 1, limits do
    result[#result + 1] = string.format('%.4f', ahead[i])
    if ahead[i] > room[i] + {gcra.SLACK_US} then passes = false end
  end
  if lease > 0 and (passes or counted == 0) then
    for i = 1, limits do
      if move[i] > 0 then
        local allowed = math.floor((room[i] + {gcra.SLACK_US} - ahead[i]) / move[i]) + 1 - counted
        lease = math.max(math.min(lease, math.floor(allowed / {LEASED_PART})), 0)
      end
    end
    result[position] = tostring(lease)
  elseif lease > 0 then
    lease = 0
  end
  local requests = lease + (passes and 1 or 0)
  if requests ~= 0 then
    for i = 1, limits do
      if move[i] > 0 and (requests > 0 or ahead[i] > 0) then
        local moved = math.max(ahead[i] + requests * move[i], 0)
        local expiry = math.ceil(moved / 1000) + 1000
        redis.call('SET', KEYS[key + i], string.format('%.4f', now + moved), 'PX', expiry)
        if i > own then
          redis.call('ZADD', names, string.format('%.0f', now + moved), KEYS[key + i])
          if redis.call('PTTL', names) < expiry then redis.call('PEXPIRE', names, expiry) end
        end
      end
    end
  end
  key = key + limits + (own < limits and 1 or 0)
  argument = argument + 2 * limits
end
return result
""")


@dataclass(frozen=True, slots=True)
class _Count:
    """Requests that the script counts. counted: True if the request itself is counted. lease:
    number of requests to lease, or to return if negative."""

    charge: Charge
    counted: bool
    lease: int


class RedisRateLimits:
    """`RateLimits` in Redis. `on_degraded` is called with the name of the error once per
    failure.
    """

    def __init__(
        self,
        login: RedisLogin,
        *,
        timeout_s: float,
        on_error: OnError,
        on_degraded: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._login = login
        self._on_error = on_error
        self._on_degraded = on_degraded
        self._local = LocalRateLimits()
        self._batches = ScriptBatches[_Count, tuple[RateLimitState, ...]](
            login,
            SCRIPT,
            timeout_s=timeout_s,
            encode=_encode,
            decode=self._decode,
            on_failure=self._degrade,
        )
        self._leases = Leases()
        self._timer: asyncio.TimerHandle | None = None
        self.degraded = False

    async def start(self) -> None:
        """Opens the connection and loads the script. A failure is ignored, because the first
        request retries.
        """
        connection = self._batches.connection
        with contextlib.suppress(OSError, TimeoutError, RedisReplyError):
            await connection.open(OPEN_TIMEOUT_S * 8)
            await connection.call(("SCRIPT", "LOAD", SCRIPT.text), OPEN_TIMEOUT_S * 8)

    async def close(self) -> None:
        """Returns unused leased requests to Redis if Redis is available, and closes the
        connection.
        """
        if self._timer is not None:
            self._timer.cancel()
        await self._batches.join()  # the last reply may contain a lease
        unused = [
            _Count(charge, counted=False, lease=-count) for charge, count in self._leases.clear()
        ]
        await asyncio.gather(
            *(self._batches.call(count) for count in unused), return_exceptions=True
        )
        await self._batches.close()

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...] | None:
        """Like `take`, but only for a request that this worker has leased; otherwise returns
        None.
        """
        now = time.monotonic()
        lease = self._leases.use(charge, now)
        if lease is None:
            return () if not charge.limits else None
        wanted = self._leases.wanted_ahead(lease, now)
        if wanted:
            self._batches.submit(_Count(charge, counted=False, lease=wanted))
        return self._local.count(charge, now * 1_000_000, degraded=False)

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """Returns one state per limit, in order. If Redis is unavailable, counts locally, or raises
        Unavailable if the setting is `deny`."""
        states = self.take_now(charge)
        if states is not None:
            return states
        lease = self._leases.wanted(charge, time.monotonic())
        try:
            states = await self._batches.call(_Count(charge, counted=True, lease=lease))
            # The last requests that a limit allows may be leased by this worker.
            return (
                (self.take_now(charge) or states)
                if any(state.exceeded for state in states)
                else states
            )
        except Unavailable:
            if self._on_error == "local":
                return self._local.take_now(charge)
        detail = "Redis is unavailable and GATEHOUSE_LIMIT_ON_ERROR is deny"
        raise Unavailable("Rate limiting is temporarily unavailable.", detail=detail)

    async def forget(self, subject: str) -> bool:
        """Removes every counter of a subject. Returns False if Redis is unavailable, in which case
        the counters expire within their window.

        Scans all counters, because a limit may have been renamed while its counter still exists.
        Used by purges only.
        """
        connection, cursor = RedisConnection(self._login), b"0"
        try:
            await connection.open(FORGET_TIMEOUT_S)
            while True:
                scan = ("SCAN", cursor, "MATCH", f"{KEY_PREFIX}*:{subject}", "COUNT", 1000)
                reply = await connection.call(scan, FORGET_TIMEOUT_S)
                if (
                    not isinstance(reply, list)
                    or not isinstance(reply[0], bytes)
                    or not isinstance(reply[1], list)
                ):
                    return False
                names = [name for name in reply[1] if isinstance(name, bytes)]
                if names:
                    await connection.call(("UNLINK", *names), FORGET_TIMEOUT_S)
                cursor = reply[0]
                if cursor == b"0":
                    return True
        except (OSError, TimeoutError, RedisReplyError):
            return False
        finally:
            connection.close()

    def _end_leases_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LEASE_S, self._end_leases)

    def _end_leases(self) -> None:
        self._timer = None
        for charge, unused in self._leases.end(time.monotonic()):
            self._batches.submit(_Count(charge, counted=False, lease=-unused))
        if self._leases:
            self._end_leases_later()

    def _decode(self, counts: list[_Count], reply: list[Reply]) -> list[tuple[RateLimitState, ...]]:
        """Converts the numbers from the script to states, from which the local counters continue.
        Raises ValueError.
        """
        numbers = [float(number) for number in reply if isinstance(number, bytes)]
        if len(numbers) != sum(1 + len(count.charge.limits) for count in counts):
            raise ValueError("unexpected reply")
        states, position, now = [], 0, time.monotonic()
        for count in counts:
            charge = count.charge
            leased, *ahead = numbers[position : position + 1 + len(charge.limits)]
            position += 1 + len(charge.limits)
            allowed = gcra.allows(charge.limits, ahead, charge.cost)
            # Redis has also counted the requests that this worker has leased and not used.
            used = _without(ahead, charge, self._leases.unused(charge))
            states.append(gcra.report(charge.limits, used if allowed else ahead, charge.cost))
            if count.counted or count.lease > 0:
                self._local.remember(charge, used, consumed=count.counted and allowed)
            if count.lease > 0:
                self._leases.add(charge, int(leased), now)
                self._end_leases_later()
        self.degraded = False
        return states

    def _degrade(self, reason: str) -> None:
        self.degraded = True
        self._on_degraded(reason)


def _without(ahead: Sequence[float], charge: Charge, requests: int) -> list[float]:
    """The `ahead_us` values that the limits of the key would have without these requests."""
    own = len(charge.limits) - charge.additional
    moves = [
        gcra.move_us(limit, requests) if index < own else 0.0
        for index, limit in enumerate(charge.limits)
    ]
    return [max(before - move, 0.0) for before, move in zip(ahead, moves, strict=True)]


def _encode(counts: list[_Count]) -> tuple[list[str], list[str]]:
    """Keys and arguments for the script."""
    keys: list[str] = []
    arguments: list[str] = []
    for count in counts:
        charge = count.charge
        arguments += (str(len(charge.limits)), str(len(charge.limits) - charge.additional))
        arguments += ("1" if count.counted else "0", str(count.lease))
        for limit in charge.limits:
            keys.append(f"{KEY_PREFIX}{limit.name}:{charge.subject}")
            arguments += (
                repr(gcra.move_us(limit, charge.cost)),
                repr(gcra.room_us(limit, charge.cost)),
            )
        if charge.additional:
            keys.append(f"{KEY_PREFIX}+:{charge.subject}")
    return keys, arguments


#: Maximum number of key families with local counters. The counters of the least recently used
#: family are deleted first, so that its limits start again.
FAMILIES_MAX = 100_000


class _Family:
    """The local counters of a key family. arrivals: theoretical arrival times in microseconds, by
    name of the limit. steps: of the last charge, because most charges of a family are the same."""

    __slots__ = ("arrivals", "charge", "steps")

    def __init__(self) -> None:
        self.arrivals: dict[str, float] = {}
        self.charge: Charge | None = None
        self.steps: tuple[gcra.Step, ...] = ()

    def prepare(self, charge: Charge) -> None:
        """Calculates the steps of a charge without additional limits."""
        if self.charge != charge:
            self.steps = _steps(charge.limits, charge.cost)
        self.charge = charge  # comparing the same object takes less time

    def remove_others(self, limits: int, now: float) -> None:
        """Removes the counters of limits that the key no longer has, as soon as they have no
        effect. limits: number of limits of the key."""
        if len(self.arrivals) > limits:
            self.arrivals = {name: at for name, at in self.arrivals.items() if at > now}


#: Many keys have the same limits.
_steps = lru_cache(maxsize=1_000)(gcra.steps)


class LocalRateLimits:
    """`RateLimits` in the memory of one worker."""

    def __init__(self) -> None:
        self._families: OrderedDict[str, _Family] = OrderedDict()
        #: Theoretical arrival times of additional limits in microseconds, by subject and name of
        #: the limit.
        self._additional: OrderedDict[str, dict[str, float]] = OrderedDict()

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self.take_now(charge)

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self.count(charge, time.monotonic() * 1_000_000, degraded=True)

    def count(self, charge: Charge, now: float, *, degraded: bool) -> tuple[RateLimitState, ...]:
        """Like `take_now`, for the Redis limiter. now: microseconds on the monotonic clock.
        degraded: True if the request is not counted in Redis."""
        if charge.additional:
            return self._take_with_additional(charge, now, degraded=degraded)
        family = self._family(charge.subject)
        if family.charge is not charge:
            family.prepare(charge)
        arrivals = family.arrivals
        taken = gcra.take(family.steps, arrivals, now, degraded=degraded)
        if taken is None:
            ahead = [max(arrivals.get(limit.name, 0.0) - now, 0.0) for limit in charge.limits]
            return gcra.report(charge.limits, ahead, charge.cost, degraded=degraded)
        states, after = taken
        if charge.cost:
            arrivals.update(after)
            if len(arrivals) > len(after):
                family.remove_others(len(after), now)
        return states

    def _take_with_additional(
        self, charge: Charge, now: float, *, degraded: bool
    ) -> tuple[RateLimitState, ...]:
        own, additional = _split(charge)
        family = self._family(charge.subject)
        ahead = [max(family.arrivals.get(limit.name, 0.0) - now, 0.0) for limit in own]
        ahead += self._additional_ahead(charge, additional, now)
        states = gcra.report(charge.limits, ahead, charge.cost, degraded=degraded)
        if charge.cost and not any(state.exceeded for state in states):
            family.arrivals |= {
                state.limit.name: now + state.reset_s * 1_000_000 for state in states[: len(own)]
            }
            family.remove_others(len(own), now)
            self._store_additional(charge.subject, states[len(own) :], now)
        return states

    def remember(self, charge: Charge, ahead: Sequence[float], *, consumed: bool) -> None:
        """Sets the key's own limits to the state that Redis reported before this charge, so that
        local counting continues from there."""
        own, _ = _split(charge)
        cost = charge.cost if consumed else 0
        after = [
            (limit.name, ahead_us + gcra.move_us(limit, cost))
            for limit, ahead_us in zip(own, ahead, strict=False)
        ]
        if charge.subject not in self._families and not any(ahead_us for _, ahead_us in after):
            return
        now, family = time.monotonic() * 1_000_000, self._family(charge.subject)
        family.arrivals |= {name: now + ahead_us for name, ahead_us in after}
        family.remove_others(len(own), now)

    def _family(self, subject: str) -> _Family:
        """The counters of a family, which become the most recently used."""
        families = self._families
        family = families.get(subject)
        if family is None:
            family = families[subject] = _Family()
            if len(families) > FAMILIES_MAX:
                families.popitem(last=False)
        else:
            families.move_to_end(subject)
        return family

    def _store_additional(self, subject: str, states: Sequence[RateLimitState], now: float) -> None:
        arrivals = self._additional.setdefault(subject, {})
        self._additional.move_to_end(subject)
        for state in states:
            if state.limit.cost:
                arrivals[state.limit.name] = now + state.reset_s * 1_000_000
        while len(self._additional) > FAMILIES_MAX // ADDITIONAL_MAX:
            self._additional.popitem(last=False)

    def _additional_ahead(
        self, charge: Charge, limits: Sequence[RateLimit], now: float
    ) -> list[float]:
        arrivals = {
            name: at for name, at in self._additional.get(charge.subject, {}).items() if at > now
        }
        if charge.subject in self._additional:
            self._additional[charge.subject] = arrivals
        free, ahead = ADDITIONAL_MAX - len(arrivals), []
        for limit in limits:
            before = max(arrivals.get(limit.name, 0.0) - now, 0.0)
            if charge.cost and limit.cost and limit.name not in arrivals:
                free -= 1
                if free < 0:
                    before = max(gcra.room_us(limit, charge.cost), 0.0) + max(
                        min(arrivals.values(), default=now) - now, 1e6
                    )
            ahead.append(before)
        return ahead


def _split(charge: Charge) -> tuple[tuple[RateLimit, ...], tuple[RateLimit, ...]]:
    """The limits of the key, and the limits from the request."""
    own = len(charge.limits) - charge.additional
    return (
        (charge.limits, ()) if not charge.additional else (charge.limits[:own], charge.limits[own:])
    )
