"""Rate limiters: in Redis or Valkey, exact across workers, and in the memory of one worker, without Redis or while it fails.

All waiting requests are sent in one call of a script (redis/batches.py), which uses the clock of the server. A counter is named
by limit and key family only: never by the token, and not by a configuration version, which would split the counter between
workers after each change.

While Redis fails, requests are answered by the fallback of the setting (local approximation or denial). The local counters
continue from the last state that Redis reported to this worker, so that a used-up limit stays used up. Requires a single shard
(cluster mode disabled), because the script accesses the counters of many keys at once.

A local limiter marks its states as `degraded`: each worker counts independently, so n workers together allow up to n times the
limit.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from gatehouse.errors import Unavailable
from gatehouse.keys.models import RateLimit
from gatehouse.redis.batches import ScriptBatches
from gatehouse.redis.connection import OPEN_TIMEOUT_S, RedisConnection, RedisLogin, RedisReplyError, Reply, Script
from gatehouse.settings import OnError
from gatehouse.verification import gcra
from gatehouse.verification.models import ADDITIONAL_MAX, Charge, RateLimitState

KEY_PREFIX = "gatehouse:limit:"
FORGET_TIMEOUT_S = 2.0

# ARGV: for each request its number of limits and of its key's own limits, which come first, then move and room (us;
# verification/gcra.py) of each limit. KEYS in the same order; a request with additional limits has one more, the sorted
# set of the names of the family's additional counters by expiry. Returns how far each counter was ahead of now before the
# request, in us, as text: Lua numbers become integers in replies. Times are relative to 2024, because a double represents them to
# better than 0.01 us but today's Unix time only to 0.25 us. `%.4f` instead of tostring, which keeps 14 digits and would lose the
# microseconds.
SCRIPT = Script(f"""
local clock = redis.call('TIME')
local now = (tonumber(clock[1]) - 1704067200) * 1000000 + tonumber(clock[2])
local result, key, argument = {{}}, 0, 1
while argument <= #ARGV do
  local limits, own = tonumber(ARGV[argument]), tonumber(ARGV[argument + 1])
  argument = argument + 2
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
  local passes = true
  for i = 1, limits do
    result[#result + 1] = string.format('%.4f', ahead[i])
    if ahead[i] > room[i] + {gcra.SLACK_US} then passes = false end
  end
  if passes then
    for i = 1, limits do
      if move[i] > 0 then
        local moved = ahead[i] + move[i]
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


class RedisRateLimits:
    """`RateLimits` in Redis. `on_degraded` is called with the name of the error once per failure."""

    def __init__(
        self, login: RedisLogin, *, timeout_s: float, on_error: OnError, on_degraded: Callable[[str], None] = lambda _: None
    ) -> None:
        self._login = login
        self._on_error = on_error
        self._on_degraded = on_degraded
        self._local = LocalRateLimits()
        self._batches = ScriptBatches[Charge, tuple[RateLimitState, ...]](
            login, SCRIPT, timeout_s=timeout_s, encode=_encode, decode=self._decode, on_failure=self._degrade
        )
        self.degraded = False

    async def start(self) -> None:
        """Opens the connection and loads the script. A failure is ignored; the first request retries."""
        connection = self._batches.connection
        with contextlib.suppress(OSError, TimeoutError, RedisReplyError):
            await connection.open(OPEN_TIMEOUT_S * 8)
            await connection.call(("SCRIPT", "LOAD", SCRIPT.text), OPEN_TIMEOUT_S * 8)

    async def close(self) -> None:
        await self._batches.close()

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """One state per limit, in order. Raises Unavailable if Redis is unavailable and the setting is `deny`."""
        if not charge.limits:
            return ()
        try:
            return await self._batches.call(charge)
        except Unavailable:
            if self._on_error == "local":
                return self._local.take_now(charge)
        detail = "Redis is unavailable and GATEHOUSE_LIMIT_ON_ERROR is deny"
        raise Unavailable("Rate limits cannot be counted at the moment.", detail=detail)

    async def forget(self, subject: str) -> bool:
        """Removes every counter of a subject. False if Redis is unavailable; the counters then expire within their window.

        Scans all counters, because a limit may have been renamed while its counter still exists. Used by purges only.
        """
        connection, cursor = RedisConnection(self._login), b"0"
        try:
            await connection.open(FORGET_TIMEOUT_S)
            while True:
                scan = ("SCAN", cursor, "MATCH", f"{KEY_PREFIX}*:{subject}", "COUNT", 1000)
                reply = await connection.call(scan, FORGET_TIMEOUT_S)
                if not isinstance(reply, list) or not isinstance(reply[0], bytes) or not isinstance(reply[1], list):
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

    def _decode(self, charges: list[Charge], reply: list[Reply]) -> list[tuple[RateLimitState, ...]]:
        """States from the numbers of the script, which the local counters continue from."""
        numbers = [float(number) for number in reply if isinstance(number, bytes)]
        if len(numbers) != sum(len(charge.limits) for charge in charges):
            raise ValueError("unexpected reply")
        states, position = [], 0
        for charge in charges:
            ahead = numbers[position : position + len(charge.limits)]
            position += len(charge.limits)
            states.append(gcra.report(charge.limits, ahead, charge.cost))
            self._local.remember(charge, ahead, consumed=not any(state.exceeded for state in states[-1]))
        self.degraded = False
        return states

    def _degrade(self, reason: str) -> None:
        self.degraded = True
        self._on_degraded(reason)


def _encode(charges: list[Charge]) -> tuple[list[str], list[str]]:
    """Keys and arguments of the script."""
    keys: list[str] = []
    arguments: list[str] = []
    for charge in charges:
        arguments += (str(len(charge.limits)), str(len(charge.limits) - charge.additional))
        for limit in charge.limits:
            keys.append(f"{KEY_PREFIX}{limit.name}:{charge.subject}")
            arguments += (repr(gcra.move_us(limit, charge.cost)), repr(gcra.room_us(limit, charge.cost)))
        if charge.additional:
            keys.append(f"{KEY_PREFIX}+:{charge.subject}")
    return keys, arguments


#: Maximum number of local counters. The least recently used is evicted first, which gives its subject a new burst.
COUNTERS_MAX = 200_000


class LocalRateLimits:
    """`RateLimits` in a dict."""

    def __init__(self) -> None:
        self._arrivals: OrderedDict[tuple[str, str], float] = OrderedDict()
        #: Arrivals of the additional limits of a subject, by name.
        self._additional: OrderedDict[str, dict[str, float]] = OrderedDict()

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self.take_now(charge)

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """Synchronous `take`, for the fallback of the Redis limiter."""
        now = time.monotonic() * 1_000_000
        own, additional = _split(charge)
        ahead = [max(self._arrivals.get((limit.name, charge.subject), 0.0) - now, 0.0) for limit in own]
        if additional:
            ahead += self._additional_ahead(charge, additional, now)
        if charge.cost and gcra.allows(charge.limits, ahead, charge.cost):
            self._store(charge, ahead, now, cost=charge.cost)
            if additional:
                arrivals = self._additional.setdefault(charge.subject, {})
                self._additional.move_to_end(charge.subject)
                for limit, before in zip(additional, ahead[len(own) :], strict=True):
                    if limit.cost:
                        arrivals[limit.name] = now + before + gcra.move_us(limit, charge.cost)
                while len(self._additional) > COUNTERS_MAX // ADDITIONAL_MAX:
                    self._additional.popitem(last=False)
        return gcra.report(charge.limits, ahead, charge.cost, degraded=True)

    def remember(self, charge: Charge, ahead: Sequence[float], *, consumed: bool) -> None:
        """Continues the key's own limits from the state that Redis reported before this charge."""
        self._store(charge, ahead, time.monotonic() * 1_000_000, cost=charge.cost if consumed else 0)

    def _store(self, charge: Charge, ahead: Sequence[float], now: float, *, cost: int) -> None:
        for limit, before in zip(_split(charge)[0], ahead, strict=False):
            moved = before + gcra.move_us(limit, cost)
            if moved > 0:
                key = (limit.name, charge.subject)
                self._arrivals[key] = now + moved
                self._arrivals.move_to_end(key)
        while len(self._arrivals) > COUNTERS_MAX:
            self._arrivals.popitem(last=False)

    def _additional_ahead(self, charge: Charge, limits: Sequence[RateLimit], now: float) -> list[float]:
        arrivals = {name: at for name, at in self._additional.get(charge.subject, {}).items() if at > now}
        if charge.subject in self._additional:
            self._additional[charge.subject] = arrivals
        free, ahead = ADDITIONAL_MAX - len(arrivals), []
        for limit in limits:
            before = max(arrivals.get(limit.name, 0.0) - now, 0.0)
            if charge.cost and limit.cost and limit.name not in arrivals:
                free -= 1
                if free < 0:
                    before = max(gcra.room_us(limit, charge.cost), 0.0) + max(min(arrivals.values(), default=now) - now, 1e6)
            ahead.append(before)
        return ahead


def _split(charge: Charge) -> tuple[tuple[RateLimit, ...], tuple[RateLimit, ...]]:
    """The limits of the key, and those of the request."""
    own = len(charge.limits) - charge.additional
    return (charge.limits, ()) if not charge.additional else (charge.limits[:own], charge.limits[own:])
