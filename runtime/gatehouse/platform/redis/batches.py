"""Sends script calls to Redis or Valkey in batches.

All waiting requests are sent in one call of a script, and only one call is in flight at a time, so
batches grow with the load (measured: three times the throughput of one call per request). When a
call fails, all waiting requests raise Unavailable, the connection is closed so that a late reply
cannot be mistaken for another reply, and no request waits for Redis during the next BREAK_S
seconds. Then one request tries again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from gatehouse.core.errors import Unavailable
from gatehouse.platform.redis.connection import (
    RedisConnection,
    RedisLogin,
    RedisReplyError,
    Reply,
    Script,
)

BREAK_S = 0.5
BATCH_MAX = 256

Request = TypeVar("Request")
Result = TypeVar("Result")

#: A request, and the future of the result if a caller waits for the result.
_Waiting = tuple[Request, "asyncio.Future[Result] | None"]


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
        """timeout_s: timeout of a call. encode: returns the keys and arguments of the script.

        decode: returns one result per request from the reply. Raises ValueError or TypeError if the
            reply is malformed.
        on_failure: called with the name of the error, once per failure.
        """
        self.connection = RedisConnection(login)
        self._script = script
        self._timeout_s = timeout_s
        self._encode = encode
        self._decode = decode
        self._on_failure = on_failure
        self._waiting: list[_Waiting[Request, Result]] = []
        self._task: asyncio.Task[None] | None = None
        self._retry_at = 0.0

    async def call(self, request: Request) -> Result:
        """Sends a request and returns the result. Raises Unavailable with the reason in
        `detail`.
        """
        if time.monotonic() < self._retry_at:
            raise Unavailable(detail="waiting for Redis to recover")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._add(request, future)
        return await future

    def submit(self, request: Request) -> None:
        """Sends a request without waiting for the result. Only `decode` receives the result. Has no
        effect while Redis is unavailable."""
        if time.monotonic() >= self._retry_at:
            self._add(request, None)

    async def join(self) -> None:
        """Waits until no request is waiting or in flight."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def close(self) -> None:
        """Closes the connection. Waiting requests raise Unavailable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        # A task that is cancelled before its first step resolves no future.
        self._fail(self._waiting, "stopped")
        self.connection.close()

    def _add(self, request: Request, future: asyncio.Future[Result] | None) -> None:
        self._waiting.append((request, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="redis-batches")

    async def _drain(self) -> None:
        batch: list[_Waiting[Request, Result]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                keys, arguments = self._encode([request for request, _ in batch])
                # Timeout: GATEHOUSE_LIMIT_TIMEOUT_MS, plus OPEN_TIMEOUT_S if the connection has to
                #     be opened first.
                resolve = partial(self._resolve, batch)
                await self.connection.evaluate(
                    self._script, keys, arguments, self._timeout_s, resolve
                )
        except (OSError, TimeoutError, RedisReplyError, ValueError, TypeError) as exc:
            self.connection.close()
            self._retry_at = time.monotonic() + BREAK_S
            reason = (
                f"RedisReplyError {exc}" if isinstance(exc, RedisReplyError) else type(exc).__name__
            )
            self._on_failure(reason)
            self._fail([*batch, *self._waiting], reason)
        except BaseException:
            self._fail([*batch, *self._waiting], "stopped")
            raise
        finally:
            self._task = None

    def _resolve(self, batch: list[_Waiting[Request, Result]], reply: Reply) -> None:
        if not isinstance(reply, list):
            raise ValueError("unexpected reply")
        results = self._decode([request for request, _ in batch], reply)
        if len(results) != len(batch):
            raise ValueError("unexpected reply")
        for (_, future), result in zip(batch, results, strict=True):
            if future is not None and not future.done():
                future.set_result(result)

    def _fail(self, waiting: list[_Waiting[Request, Result]], reason: str) -> None:
        self._waiting = []
        for _, future in waiting:
            if future is not None and not future.done():
                future.set_exception(Unavailable(detail=reason))
