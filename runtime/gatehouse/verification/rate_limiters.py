"""Rate limiters: in Redis or Valkey, exact across workers, and in the memory of one worker, without Redis or while it fails.

All waiting requests are sent in one EVALSHA, which uses the clock of the server, and only one call is in flight at a time, so
batches grow with the load (measured: three times the throughput of a call per request). A counter is named by limit and key
family only: never by the token, and not by a configuration version, which would split the counter between workers after each
change.

When Redis fails, all waiting requests are answered by the fallback of the setting (local approximation or denial), the
connection is closed so that a late reply cannot be taken for another one, and for BREAK_S no request waits for Redis. Then one
request tries again. Requires a single shard (cluster mode disabled), because the script accesses the counters of many keys at
once.

A local limiter marks its states as `degraded`: each worker counts independently, so n workers together allow up to n times the
limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from gatehouse.errors import Unavailable
from gatehouse.redis.connection import OPEN_TIMEOUT_S, RedisConnection, RedisLogin, RedisReplyError, Script
from gatehouse.verification import rate_limits as gcra
from gatehouse.verification.models import Charge, RateLimitState

KEY_PREFIX = "gatehouse:limit:"
BREAK_S = 0.5
BATCH_MAX = 256
FORGET_TIMEOUT_S = 2.0

# ARGV: for each request its number of limits, then move and room (us; verification/rate_limits.py) of each; KEYS in the same
# order. Returns how far each counter was ahead of now before the request, in us, as text: Lua numbers become integers in
# replies. Times are relative to 2024, because a double represents them to better than 0.01 us but today's Unix time only to
# 0.25 us. `%.4f` instead of tostring, which keeps 14 digits and would lose the microseconds.
SCRIPT = Script(f"""
local clock = redis.call('TIME')
local now = (tonumber(clock[1]) - 1704067200) * 1000000 + tonumber(clock[2])
local result, key, argument = {{}}, 0, 1
while argument <= #ARGV do
  local limits = tonumber(ARGV[argument])
  argument = argument + 1
  local ahead, passes = {{}}, true
  for i = 1, limits do
    local room = tonumber(ARGV[argument + 2 * i - 1])
    local arrival = tonumber(redis.call('GET', KEYS[key + i]) or '0')
    ahead[i] = math.max(arrival - now, 0)
    result[#result + 1] = string.format('%.4f', ahead[i])
    if ahead[i] > room + {gcra.SLACK_US} then passes = false end
  end
  if passes then
    for i = 1, limits do
      local move = tonumber(ARGV[argument + 2 * i - 2])
      if move > 0 then
        local moved = ahead[i] + move
        redis.call('SET', KEYS[key + i], string.format('%.4f', now + moved), 'PX', math.ceil(moved / 1000) + 1000)
      end
    end
  end
  key, argument = key + limits, argument + 2 * limits
end
return result
""")

OnError = Literal["local", "refuse"]
_Waiter = tuple[Charge, asyncio.Future[tuple[RateLimitState, ...]]]


class RedisRateLimits:
    """`RateLimits` in Redis. `on_degraded` is called with the name of the error once per failure."""

    def __init__(
        self, login: RedisLogin, *, timeout_s: float, on_error: OnError, on_degraded: Callable[[str], None] = lambda _: None
    ) -> None:
        self._login = login
        self._connection = RedisConnection(login)
        self._timeout_s = timeout_s
        self._on_error = on_error
        self._on_degraded = on_degraded
        self._local = LocalRateLimits()
        self._waiting: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._retry_at = 0.0
        self.degraded = False

    async def start(self) -> None:
        """Opens the connection and loads the script. A failure is ignored; the first request retries."""
        with contextlib.suppress(OSError, TimeoutError, RedisReplyError):
            await self._connection.open(OPEN_TIMEOUT_S * 8)
            await self._connection.call(("SCRIPT", "LOAD", SCRIPT.text), OPEN_TIMEOUT_S * 8)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._connection.close()

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """One state per limit, in order. Raises Unavailable if Redis is unavailable and the setting is `refuse`."""
        if not charge.limits:
            return ()
        if time.monotonic() < self._retry_at:
            return self._without_redis(charge)
        future: asyncio.Future[tuple[RateLimitState, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append((charge, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

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

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                try:
                    await self._send(batch)
                except (OSError, TimeoutError, RedisReplyError, ValueError, TypeError) as exc:
                    self._fail(batch, exc)
                except BaseException:
                    self._waiting = batch + self._waiting
                    raise
        finally:
            self._task = None
            for _, future in self._waiting:
                future.cancel()
            self._waiting = []

    async def _send(self, batch: list[_Waiter]) -> None:
        keys: list[str] = []
        arguments: list[str] = []
        for charge, _ in batch:
            arguments.append(str(len(charge.limits)))
            for limit in charge.limits:
                keys.append(f"{KEY_PREFIX}{limit.name}:{charge.subject}")
                arguments += (repr(gcra.move_us(limit, charge.cost)), repr(gcra.room_us(limit, charge.cost)))
        # Timeout: GATEHOUSE_LIMIT_TIMEOUT_MS, plus OPEN_TIMEOUT_S if the connection has to be opened first.
        reply = await self._connection.evaluate(SCRIPT, keys, arguments, self._timeout_s)
        if not isinstance(reply, list) or len(reply) != len(keys):
            raise ValueError("unexpected reply")
        numbers = [float(number) for number in reply if isinstance(number, bytes)]
        position = 0
        for charge, future in batch:
            ahead = numbers[position : position + len(charge.limits)]
            position += len(charge.limits)
            if not future.done():
                future.set_result(gcra.report(charge.limits, ahead, charge.cost))
        self.degraded = False

    def _fail(self, batch: list[_Waiter], exc: Exception) -> None:
        self._retry_at = time.monotonic() + BREAK_S
        self.degraded = True
        self._on_degraded(type(exc).__name__ if not isinstance(exc, RedisReplyError) else f"RedisReplyError {exc}")
        waiting, self._waiting = batch + self._waiting, []
        for charge, future in waiting:
            if future.done():
                continue
            try:
                future.set_result(self._without_redis(charge))
            except Unavailable as error:
                future.set_exception(error)

    def _without_redis(self, charge: Charge) -> tuple[RateLimitState, ...]:
        if self._on_error == "refuse":
            detail = "Redis is unavailable and GATEHOUSE_LIMIT_ON_ERROR is refuse"
            raise Unavailable("Rate limits cannot be counted at the moment", detail=detail)
        return self._local.take_now(charge)


#: Maximum number of local counters. The least recently used is evicted first, which gives its subject a new burst.
COUNTERS_MAX = 200_000


class LocalRateLimits:
    """`RateLimits` in a dict."""

    def __init__(self) -> None:
        self._arrivals: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self.take_now(charge)

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """Synchronous `take`, for the fallback of the Redis limiter."""
        now = time.monotonic() * 1_000_000
        keys = [(limit.name, charge.subject) for limit in charge.limits]
        ahead = [max(self._arrivals.get(key, 0.0) - now, 0.0) for key in keys]
        if charge.cost and gcra.allows(charge.limits, ahead, charge.cost):
            for key, limit, before in zip(keys, charge.limits, ahead, strict=True):
                self._arrivals[key] = now + before + gcra.move_us(limit, charge.cost)
                self._arrivals.move_to_end(key)
            while len(self._arrivals) > COUNTERS_MAX:
                self._arrivals.popitem(last=False)
        return gcra.report(charge.limits, ahead, charge.cost, degraded=True)
