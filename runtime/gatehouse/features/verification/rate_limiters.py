"""Counts requests against rate limits: in the memory of each worker first (core/ledger.py), and in
Redis or Valkey afterwards, across workers.

A worker reports what it has allowed after EXCHANGE_S at most, and earlier if that is half of its
share of a limit. One script call reports many key families, and the reply contains the counters,
from which the next decisions continue. A request that Redis must decide joins the next call. The
script uses the clock of the server. The name of a counter consists of the name of the limit and the
ID of the key family. The name contains neither the token nor a configuration version, which would
split the counter between workers after each change.

A call whose reply is missing is repeated with the same sequence number, so that its requests count
once. While Redis is unavailable, the setting determines the fallback. With `deny`, requests are
denied. With `local`, and without Redis, each worker decides alone and marks the states as
`degraded`, so n workers together allow up to n times the limit. Redis counts these requests as soon
as it is available. Redis must have a single shard (cluster mode disabled), because the script
accesses the counters of many keys at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from gatehouse.core import gcra
from gatehouse.core.errors import Unavailable
from gatehouse.core.ledger import Counter, Families, Family, steps
from gatehouse.core.verification import Charge, RateLimitState
from gatehouse.platform.redis.batches import BATCH_MAX, ScriptBatches
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
SEQUENCE_PREFIX = "gatehouse:exchange:"
#: Seconds for which Redis remembers the last call of a worker.
SEQUENCE_S = 3600
#: Seconds after which a worker reports the requests that it has allowed.
EXCHANGE_S = 0.05
FORGET_TIMEOUT_S = 2.0

# KEYS[1] contains the number of the last call of the worker, and ARGV[1] the number of this call.
# Then follow the entries. ARGV contains for each: the number of limits; 1 if Redis decides on the
# entry, and 0 if it has been allowed; the number of the call in which the entry was sent first; and
# `move_us` and `room_us` of each limit (core/gcra.py). KEYS contains the counters in the same
# order. The script returns `ahead_us` of each limit: before the entry if Redis decides, otherwise
# after it. The numbers are returned as text, because Lua numbers become integers in replies. Times
# are relative to 2024, because a double represents such times to better than 0.01 us, but the
# current Unix time only to 0.25 us. `%.4f` is used instead of tostring, which keeps only 14 digits
# and would lose the microseconds.
SCRIPT = Script(f"""
local clock = redis.call('TIME')
local now = (tonumber(clock[1]) - 1704067200) * 1000000 + tonumber(clock[2])
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
redis.call('SET', KEYS[1], ARGV[1], 'EX', {SEQUENCE_S})
local result, key, argument = {{}}, 1, 2
while argument <= #ARGV do
  local limits, decides = tonumber(ARGV[argument]), ARGV[argument + 1] == '1'
  local counts = tonumber(ARGV[argument + 2]) > last
  argument = argument + 3
  local ahead, move = {{}}, {{}}
  for i = 1, limits do
    move[i] = tonumber(ARGV[argument + 2 * i - 2])
    ahead[i] = math.max(tonumber(redis.call('GET', KEYS[key + i]) or '0') - now, 0)
    if decides and ahead[i] > tonumber(ARGV[argument + 2 * i - 1]) then counts = false end
  end
  for i = 1, limits do
    local moved = ahead[i] + move[i]
    if counts and move[i] > 0 then
      local expiry = math.ceil(moved / 1000) + 1000
      redis.call('SET', KEYS[key + i], string.format('%.4f', now + moved), 'PX', expiry)
      if not decides then ahead[i] = moved end
    end
    result[#result + 1] = string.format('%.4f', ahead[i])
  end
  key, argument = key + limits, argument + 2 * limits
end
return result
""")


@dataclass(slots=True, eq=False)
class _Entry:
    """An entry of a script call: requests of a key family.

    counters, moves, rooms: counter, `move_us` and `room_us` (with the rounding tolerance) of each
        limit.
    charge: the charge on which Redis decides, or None for requests that have been allowed.
    sequence: number of the call in which the entry was sent first; 0: not sent.
    ahead: reply of Redis.
    """

    subject: str
    counters: Sequence[Counter]
    moves: Sequence[float]
    rooms: Sequence[float]
    charge: Charge | None = None
    sequence: int = 0
    ahead: list[float] = field(default_factory=list)


class RateLimits:
    """Rate limiter of a worker. login: None if each worker counts alone. `on_degraded` is called
    with the name of the error when Redis becomes unavailable.

    degraded: the worker counts without Redis.
    """

    def __init__(
        self,
        login: RedisLogin | None = None,
        *,
        timeout_s: float = 1.0,
        on_error: OnError = "local",
        on_degraded: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._login = login
        self._on_error: OnError = "local" if login is None else on_error
        self._on_degraded = on_degraded
        self._families = Families()
        self._batches: ScriptBatches[_Entry | Family | None, tuple[RateLimitState, ...]] | None = (
            None
        )
        if login is not None:
            self._batches = ScriptBatches(
                login,
                SCRIPT,
                timeout_s=timeout_s,
                encode=self._encode,
                decode=self._decode,
                on_failure=self._fail,
            )
        self._timer: asyncio.TimerHandle | None = None
        self._name = SEQUENCE_PREFIX + secrets.token_hex(8)
        self._sequence = 0
        #: Entries of the call in flight, and of calls without a reply.
        self._in_flight: list[_Entry] = []
        self._unanswered: list[_Entry] = []
        self.degraded = login is None

    async def start(self) -> None:
        """Opens the connection and loads the script. After a failure, the worker counts without
        Redis until Redis is available.
        """
        if self._batches is None:
            return
        connection = self._batches.connection
        try:
            await connection.open(OPEN_TIMEOUT_S * 8)
            await connection.call(("SCRIPT", "LOAD", SCRIPT.text), OPEN_TIMEOUT_S * 8)
        except (OSError, TimeoutError, RedisReplyError) as exc:
            self._fail(type(exc).__name__)

    async def close(self) -> None:
        """Reports the allowed requests if Redis is available, and closes the connection."""
        if self._batches is None:
            return
        await self._batches.join()
        if not self.degraded:
            self._batches.submit(None)
            await self._batches.join()
        await self._batches.close()
        if self._timer is not None:
            self._timer.cancel()

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...] | None:
        """Like `take`, but returns None without any effect if Redis must decide."""
        if self.degraded and self._on_error == "deny":
            return None
        return self._decide(charge, degraded=self.degraded)

    def ask(self, charge: Charge) -> Awaitable[tuple[RateLimitState, ...]]:
        """Lets Redis decide on a charge. Call it immediately after `take_now` returned None. Raises
        Unavailable if Redis is unavailable and the setting is `deny`."""
        return self._ask(None if self.degraded else self._question(charge), charge)

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """Decides on a charge, and counts it if all limits allow it. Returns one state per limit,
        in order. Raises the same error as `ask`."""
        states = self.take_now(charge)
        return await self.ask(charge) if states is None else states

    async def forget(self, subject: str) -> bool:
        """Removes every counter of a subject from Redis. Returns False if Redis is unavailable, in
        which case the counters expire within their window.

        Scans all counters, because a limit may have been renamed while its counter still exists.
        Used by purges only.
        """
        if self._login is None:
            return False
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

    def _decide(self, charge: Charge, *, degraded: bool) -> tuple[RateLimitState, ...] | None:
        """Decides in this worker. Returns None without any effect if Redis must decide, which does
        not happen if `degraded`."""
        family = self._families.find(charge.subject)
        states = family.take(charge, time.monotonic() * 1_000_000, degraded=degraded)
        if family.has_unsent and self._batches is not None:
            self._families.unsent[charge.subject] = family
            if family.is_urgent and not degraded:
                family.is_urgent = False
                self._batches.submit(family)
            self._exchange_later()
        return states

    async def _ask(self, entry: _Entry | None, charge: Charge) -> tuple[RateLimitState, ...]:
        if self._batches is not None and entry is not None:
            with contextlib.suppress(Unavailable):
                return await self._batches.call(entry)
            if self._on_error == "local":
                return self._answer(entry, charge)
        detail = "Redis is unavailable and GATEHOUSE_LIMIT_ON_ERROR is deny"
        raise Unavailable("Rate limiting is temporarily unavailable.", detail=detail)

    def _question(self, charge: Charge) -> _Entry:
        """The entry for a charge on which Redis decides. `_decide` has found the counters."""
        counters = self._families.find(charge.subject).current
        numbers = steps(charge.limits, charge.cost)
        moves, rooms = [step[2] for step in numbers], [step[3] for step in numbers]
        return _Entry(charge.subject, counters, moves, rooms, charge)

    def _answer(self, entry: _Entry, charge: Charge) -> tuple[RateLimitState, ...]:
        """Decides on an entry for which Redis has not replied. If Redis has counted it
        nevertheless, the repeated entry does not count again."""
        states = self._decide(charge, degraded=True) or ()
        if entry.sequence and charge.cost and not any(state.exceeded for state in states):
            for counter, move in zip(entry.counters, entry.moves, strict=True):
                counter.resend(move)
            entry.charge = None
            self._unanswered.append(entry)
        return states

    def _exchange_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EXCHANGE_S, self._exchange)

    def _exchange(self) -> None:
        """Reports the allowed requests, or tries whether Redis is available again."""
        self._timer = None
        if self._batches is not None:
            self._batches.submit(None)
        if self.degraded or self._families.unsent:
            self._exchange_later()

    def _encode(self, requests: list[_Entry | Family | None]) -> tuple[list[str], list[str]]:
        """Keys and arguments for the script. Requests: entries on which Redis decides, families
        with unsent requests, and None for BATCH_MAX families."""
        self._sequence += 1
        self._in_flight, now = self._unanswered, time.monotonic() * 1_000_000
        self._unanswered = []
        for request in requests:
            # While Redis is unavailable, a call only repeats the entries without a reply.
            if not self.degraded:
                self._send(None if request is None else request.subject, now)
            if isinstance(request, _Entry):
                self._in_flight.append(request)
        keys, arguments = [self._name], [str(self._sequence)]
        for entry in self._in_flight:
            entry.sequence = entry.sequence or self._sequence
            decides = "0" if entry.charge is None else "1"
            arguments += (str(len(entry.counters)), decides, str(entry.sequence))
            for counter, move, room in zip(entry.counters, entry.moves, entry.rooms, strict=True):
                keys.append(f"{KEY_PREFIX}{counter.name}:{entry.subject}")
                arguments += (repr(move), repr(room))
        return keys, arguments

    def _send(self, subject: str | None, now: float) -> None:
        """Adds the unsent requests of a family, or of BATCH_MAX families, to the call."""
        unsent = self._families.unsent
        for name in list(islice(unsent, BATCH_MAX)) if subject is None else [subject]:
            sent = unsent.pop(name).send(now) if name in unsent else []
            if sent:
                counters, moves = zip(*sent, strict=True)
                self._in_flight.append(_Entry(name, counters, moves, moves))

    def _decode(
        self, requests: list[_Entry | Family | None], reply: list[Reply]
    ) -> list[tuple[RateLimitState, ...]]:
        """Continues from the counters in Redis. Raises ValueError."""
        numbers = [float(number) for number in reply if isinstance(number, bytes)]
        if len(numbers) != sum(len(entry.counters) for entry in self._in_flight):
            raise ValueError("unexpected reply")
        position, now = 0, time.monotonic() * 1_000_000
        for entry in self._in_flight:
            entry.ahead = numbers[position : position + len(entry.counters)]
            position += len(entry.counters)
            changes = zip(entry.counters, entry.moves, entry.ahead, strict=True)
            charge = entry.charge
            if charge is None:
                for counter, move, ahead in changes:
                    counter.confirm(move, ahead, now)
            else:
                counts = gcra.allows(charge.limits, entry.ahead, charge.cost)
                for counter, move, ahead in changes:
                    counter.learn(ahead + move if counts else ahead, now)
        if self._batches is not None and len(self._in_flight) >= BATCH_MAX:
            self._batches.submit(None)  # more families may be waiting
        self._in_flight, self.degraded = [], False
        return [
            gcra.report(request.charge.limits, request.ahead, request.charge.cost)
            if isinstance(request, _Entry) and request.charge is not None
            else ()
            for request in requests
        ]

    def _fail(self, reason: str) -> None:
        """Keeps the entries of the call for the next call. `_answer` adds the entries on which
        Redis did not decide."""
        self._unanswered += [entry for entry in self._in_flight if entry.charge is None]
        self._in_flight = []
        if not self.degraded:
            self.degraded = True
            self._on_degraded(reason)
        self._exchange_later()
