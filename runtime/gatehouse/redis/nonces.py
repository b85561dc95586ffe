"""Nonces of signatures in Redis or Valkey: each is taken once, by whichever worker asks first.

All that wait go into one script call, one call in flight at a time, as with the limits. Failure side: closed. Whoever cannot ask
whether a signature was used before must not believe it, so every failure is Unavailable; for BREAK_S nobody waits for Redis then."""

from __future__ import annotations

import asyncio
import hashlib
import time

from gatehouse.errors import Unavailable
from gatehouse.keys.models import KeyId
from gatehouse.redis.connection import RedisConnection, RedisReplyError, Script
from gatehouse.redis.credentials import RedisLogin

KEY_PREFIX = "gatehouse:nonce:"


BREAK_S = 0.5


BATCH_MAX = 256


# ARGV: seconds to remember each key; 0 looks only. Answers 1 for a new one and 0 for one that was seen.
SCRIPT = Script("""
local answer = {}
for i = 1, #KEYS do
  if ARGV[i] == '0' then
    answer[i] = 1 - redis.call('EXISTS', KEYS[i])
  else
    answer[i] = redis.call('SET', KEYS[i], '', 'NX', 'EX', ARGV[i]) and 1 or 0
  end
end
return answer
""")


_Waiter = tuple[str, int, asyncio.Future[bool]]


class RedisNonces:
    """The Nonces port. `timeout_s`: how long one call may take."""

    def __init__(self, login: RedisLogin, *, timeout_s: float) -> None:
        self._connection = RedisConnection(login)
        self._timeout_s = timeout_s
        self._waiting: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._closed_until = 0.0

    async def is_new(self, key_id: KeyId, nonce: str, *, keep_s: int) -> bool:
        if time.monotonic() < self._closed_until:
            raise _away("breaker open")
        # A digest, because a client chooses the nonce: its length and its bytes are not Redis' concern.
        name = f"{KEY_PREFIX}{key_id}:{hashlib.sha256(nonce.encode()).hexdigest()}"
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((name, keep_s, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="nonces")
        return await future

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail(self._waiting, _away("stopped"))  # a task that is cancelled before its first step answers nobody
        self._connection.close()

    async def _drain(self) -> None:
        batch: list[_Waiter] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                # Timeout: the setting of the limits (50 ms), OPEN_TIMEOUT_S more when the connection has to be opened first.
                names, keeps_s = [name for name, _, _ in batch], [keep_s for _, keep_s, _ in batch]
                reply = await self._connection.evaluate(SCRIPT, names, keeps_s, self._timeout_s)
                if not isinstance(reply, list) or len(reply) != len(batch):
                    raise ValueError("unexpected reply")
                for (_, _, future), new in zip(batch, reply, strict=True):
                    if not future.done():
                        future.set_result(new == 1)
        except (OSError, TimeoutError, RedisReplyError, ValueError) as exc:
            self._connection.close()
            self._closed_until = time.monotonic() + BREAK_S
            self._fail([*batch, *self._waiting], _away(type(exc).__name__))
        except BaseException:
            self._fail([*batch, *self._waiting], _away("stopped"))
            raise
        finally:
            self._task = None

    def _fail(self, waiting: list[_Waiter], error: Unavailable) -> None:
        self._waiting = []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error)


def _away(detail: str) -> Unavailable:
    return Unavailable("Signatures cannot be checked at the moment", detail=f"nonces: {detail}")
