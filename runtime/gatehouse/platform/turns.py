"""Limits the time that the requests and the connections of a worker take in an iteration of the
event loop, so that PostgreSQL, Redis, new connections and other clients are served in the meantime.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

#: CPU time in seconds for which connections read in an iteration, and maximum size of further
#: reads. Parsing 128 KB with chunks of one byte takes 20 ms, and libuv reads from all connections
#: that have data, up to 32 times from each, before it calls other functions.
READ_TURN_S = 0.005
SMALL_READ_BYTES = 1024


class Turns:
    """The time that something takes in an iteration: a turn.

    is_over: the turn of this iteration has ended.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.is_over = False
        self._seconds, self._clock = seconds, clock
        self._end = 0.0
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def check(self) -> bool:
        """Begins the turn, or returns True if it has ended."""
        now = self._clock()
        if self._end:
            self.is_over = now >= self._end
        else:
            self._end = now + self._seconds
            asyncio.get_running_loop().call_soon(self._next)
        return self.is_over

    def wait(self, network: str, resume: Callable[[], None]) -> None:
        """Calls `resume` in the next iteration. The networks of clients take turns."""
        self._waiting.setdefault(network, deque()).append(resume)

    def _next(self) -> None:
        self._end, self.is_over, waiting = 0.0, False, self._waiting
        if waiting:
            self._waiting = {}
        while waiting:
            for network in tuple(waiting):
                waiting[network].popleft()()
                if not waiting[network]:
                    del waiting[network]


class Reads:
    """The reads of connections, one after another, into one buffer."""

    def __init__(self, size: int) -> None:
        self.buffer = memoryview(bytearray(size))
        self._turns = Turns(READ_TURN_S, time.thread_time)

    def begin(self, size: int) -> memoryview:
        """The buffer for a read of at most this size."""
        return self.buffer[: min(size, SMALL_READ_BYTES) if self._turns.is_over else size]

    def end(self, size: int, transport: asyncio.ReadTransport, resume: Callable[[], None]) -> None:
        """Ends a read. After the turn, the connection is paused, and `resume` is called in the next
        iteration. size: number of bytes that were read.
        """
        if self._turns.is_over or (size > SMALL_READ_BYTES and self._turns.check()):
            transport.pause_reading()
            self._turns.wait("", resume)
