"""What differs between asyncio and threads: waiting for a turn, and the time limit of a request."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from ssl import SSLContext
from time import monotonic
from typing import Any

import httpcore
import httpx


class AsyncTurns:
    def __init__(self, count: int) -> None:
        self._semaphore = asyncio.Semaphore(count)

    async def acquire(self, deadline: float) -> None:
        """Raises PoolTimeout of httpx at the deadline."""
        if not self._semaphore.locked():
            await self._semaphore.acquire()
            return
        try:
            async with asyncio.timeout(deadline - monotonic()):
                await self._semaphore.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("") from None

    def release(self) -> None:
        self._semaphore.release()


class Turns:
    def __init__(self, count: int) -> None:
        self._semaphore = threading.Semaphore(count)

    def acquire(self, deadline: float) -> None:
        if not self._semaphore.acquire(timeout=max(0.0, deadline - monotonic())):
            raise httpx.PoolTimeout("")

    def release(self) -> None:
        self._semaphore.release()


class AsyncTimeLimit:
    """The time limit of a connection."""

    backend: httpcore.AsyncNetworkBackend | None = None

    def until(self, deadline: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(deadline - monotonic())


class TimeLimit:
    """As `AsyncTimeLimit`: every step of a request receives the time that remains."""

    def __init__(self) -> None:
        self._deadline = 0.0
        self.backend = _Backend(self)

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        self._deadline = deadline
        yield

    def remaining_s(self) -> float:
        """Raises TimeoutError at the deadline."""
        remaining_s = self._deadline - monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        return remaining_s


class _Backend(httpcore.NetworkBackend):
    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = httpcore.SyncBackend().connect_tcp(
            host, port, self._limit.remaining_s(), local_address, socket_options
        )
        return _Stream(stream, self._limit)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, limit: TimeLimit) -> None:
        self._stream = stream
        self._limit = limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._limit.remaining_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._limit.remaining_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        remaining_s = self._limit.remaining_s()
        return _Stream(
            self._stream.start_tls(ssl_context, server_hostname, remaining_s), self._limit
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
