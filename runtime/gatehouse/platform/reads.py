"""Limits the time for which the connections of a worker read in an iteration of the event loop.

The event loop reads from all connections that have data before it calls other functions, and up to
32 times from each (libuv). Parsing 128 KB with chunks of one byte takes 20 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

#: CPU time in seconds for which connections read in an iteration, and maximum size of further
#: reads.
READ_TURN_S = 0.005
SMALL_READ_BYTES = 1024


class Reads:
    """The reads of connections, one after another, into one buffer."""

    def __init__(self, size: int) -> None:
        self.buffer = memoryview(bytearray(size))
        self._turn_end = 0.0
        self._is_over = False
        self._waiting: list[Callable[[], None]] = []

    def begin(self, size: int) -> memoryview:
        """The buffer for a read of at most this size."""
        if not self._turn_end:
            self._turn_end = time.thread_time() + READ_TURN_S
            asyncio.get_running_loop().call_soon(self._next_turn)
        return self.buffer[: min(size, SMALL_READ_BYTES) if self._is_over else size]

    def end(self, transport: asyncio.ReadTransport, resume: Callable[[], None]) -> None:
        """Ends a read. At the end of the turn, the connection is paused, and `resume` is called in
        the next iteration.
        """
        self._is_over = self._is_over or time.thread_time() >= self._turn_end
        if self._is_over:
            transport.pause_reading()
            self._waiting.append(resume)

    def _next_turn(self) -> None:
        self._turn_end, self._is_over = 0.0, False
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()
