"""Nonces of request signatures in Redis or Valkey: each is accepted once, across all workers.

Waiting checks are sent in one script call, and one call is in flight at a time, as with rate limits. Fails closed: without
Redis a signature may be a replay, so every failure raises Unavailable, and for BREAK_S no request waits for Redis.
"""

from __future__ import annotations

import asyncio
import hashlib
import time

from gatehouse.errors import Unavailable
from gatehouse.keys.models import KeyId
from gatehouse.redis.connection import RedisConnection, RedisLogin, RedisReplyError, Script

KEY_PREFIX = "gatehouse:nonce:"
BREAK_S = 0.5
BATCH_MAX = 256

# ARGV: seconds to store each nonce; 0 only reads. Returns 1 for a new nonce and 0 for a used one.
SCRIPT = Script("""
local result = {}
for i = 1, #KEYS do
  if ARGV[i] == '0' then
    result[i] = 1 - redis.call('EXISTS', KEYS[i])
  else
    result[i] = redis.call('SET', KEYS[i], '', 'NX', 'EX', ARGV[i]) and 1 or 0
  end
end
return result
""")

_Waiter = tuple[str, int, asyncio.Future[bool]]


class RedisNonces:
    """Used nonces. `timeout_s`: timeout of a call to Redis."""

    def __init__(self, login: RedisLogin, *, timeout_s: float) -> None:
        self._connection = RedisConnection(login)
        self._timeout_s = timeout_s
        self._waiting: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._retry_at = 0.0

    async def is_new(self, key_id: KeyId, nonce: str, *, keep_s: int) -> bool:
        """False if the key has used the nonce; otherwise stores it for `keep_s` seconds (0: only reads). Raises Unavailable."""
        if time.monotonic() < self._retry_at:
            raise _unavailable("waiting for Redis to recover")
        # A digest, because the client chooses the nonce and its length.
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
        self._fail(self._waiting, _unavailable("stopped"))  # a task that is cancelled before its first step resolves no future
        self._connection.close()

    async def _drain(self) -> None:
        batch: list[_Waiter] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                # Timeout: GATEHOUSE_LIMIT_TIMEOUT_MS, plus OPEN_TIMEOUT_S if the connection has to be opened first.
                names, keeps_s = [name for name, _, _ in batch], [keep_s for _, keep_s, _ in batch]
                reply = await self._connection.evaluate(SCRIPT, names, keeps_s, self._timeout_s)
                if not isinstance(reply, list) or len(reply) != len(batch):
                    raise ValueError("unexpected reply")
                for (_, _, future), new in zip(batch, reply, strict=True):
                    if not future.done():
                        future.set_result(new == 1)
        except (OSError, TimeoutError, RedisReplyError, ValueError) as exc:
            self._connection.close()
            self._retry_at = time.monotonic() + BREAK_S
            self._fail([*batch, *self._waiting], _unavailable(type(exc).__name__))
        except BaseException:
            self._fail([*batch, *self._waiting], _unavailable("stopped"))
            raise
        finally:
            self._task = None

    def _fail(self, waiting: list[_Waiter], error: Unavailable) -> None:
        self._waiting = []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error)


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("Signatures cannot be verified at the moment", detail=f"nonces: {detail}")
