"""Batches of script calls in Redis or Valkey.

All waiting requests are sent in one call of a script, and only one call is in flight at a time, so batches grow with the load
(measured: three times the throughput of a call per request). When a call fails, all waiting requests get Unavailable, the
connection is closed so that a late reply cannot be mistaken for another reply, and no request waits for Redis during the next
BREAK_S seconds. Then one request tries again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gatehouse.errors import Unavailable
from gatehouse.redis.connection import RedisConnection, RedisLogin, RedisReplyError, Reply, Script

BREAK_S = 0.5
BATCH_MAX = 256

Request = TypeVar("Request")
Result = TypeVar("Result")


class ScriptBatches(Generic[Request, Result]):
    """Calls a script for the requests of one worker."""

    def __init__(
        self,
        login: RedisLogin,
        script: Script,
        *,
        timeout_s: float,
        encode: Callable[[list[Request]], tuple[list[str], list[str]]],
        decode: Callable[[list[Request], list[Reply]], Sequence[Result]],
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        """timeout_s: timeout of a call. encode: returns keys and arguments of the script.

        decode: returns one result per request from the reply. Raises ValueError or TypeError if the reply is malformed.
        on_failure: called with the name of the error, once per failure.
        """
        self.connection = RedisConnection(login)
        self._script = script
        self._timeout_s = timeout_s
        self._encode = encode
        self._decode = decode
        self._on_failure = on_failure
        self._waiting: list[tuple[Request, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None
        self._retry_at = 0.0

    async def call(self, request: Request) -> Result:
        """Raises Unavailable, whose detail is the reason."""
        if time.monotonic() < self._retry_at:
            raise Unavailable(detail="waiting for Redis to recover")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="redis-batches")
        return await future

    async def close(self) -> None:
        """Requests that wait get Unavailable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail(self._waiting, "stopped")  # a task that is cancelled before its first step resolves no future
        self.connection.close()

    async def _drain(self) -> None:
        batch: list[tuple[Request, asyncio.Future[Result]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                requests = [request for request, _ in batch]
                keys, arguments = self._encode(requests)
                # Timeout: GATEHOUSE_LIMIT_TIMEOUT_MS, plus OPEN_TIMEOUT_S if the connection has to be opened first.
                reply = await self.connection.evaluate(self._script, keys, arguments, self._timeout_s)
                if not isinstance(reply, list):
                    raise ValueError("unexpected reply")
                results = self._decode(requests, reply)
                if len(results) != len(batch):
                    raise ValueError("unexpected reply")
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
        except (OSError, TimeoutError, RedisReplyError, ValueError, TypeError) as exc:
            self.connection.close()
            self._retry_at = time.monotonic() + BREAK_S
            reason = f"RedisReplyError {exc}" if isinstance(exc, RedisReplyError) else type(exc).__name__
            self._on_failure(reason)
            self._fail([*batch, *self._waiting], reason)
        except BaseException:
            self._fail([*batch, *self._waiting], "stopped")
            raise
        finally:
            self._task = None

    def _fail(self, waiting: list[tuple[Request, asyncio.Future[Result]]], reason: str) -> None:
        self._waiting = []
        for _, future in waiting:
            if not future.done():
                future.set_exception(Unavailable(detail=reason))
