"""Limits the time that the requests and the connections of a worker take in an iteration of the
event loop, so that PostgreSQL, Redis, new connections and other clients are served in the meantime.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial

#: CPU time in seconds for which connections read in an iteration, and maximum size of further
#: reads. Parsing 128 KB with chunks of one byte takes 20 ms, and libuv reads from all connections
#: that have data, up to 32 times from each, before it calls other functions.
READ_TURN_S = 0.005
SMALL_READ_BYTES = 1024

#: Maximum number of functions that are resumed in an iteration. Tasks: twice as many as in the last
#: one, and 1 after a turn that has ended. They take time only later, and those that find the turn
#: ended come before all others. Reads: see `Turns`.
_RESUMED = 16


class Turns:
    """The time that something takes in an iteration: a turn.

    is_over: the turn of this iteration has ended. waiting: what waits for a turn, by subject.
    """

    def __init__(
        self, seconds: float, clock: Callable[[], float] = time.perf_counter, reads: bool = False
    ) -> None:
        """reads: one is resumed for each turn that the last iteration took, because a connection
        that is resumed reads only later, and does not check its turn again.
        """
        self.is_over = self._is_scheduled = False
        self._number, self._resumed, self._reads = 1, 0, reads
        self._began = 0.0
        self._seconds, self._clock = seconds, clock
        self._end = 0.0
        self.waiting: dict[Hashable, deque[Callable[[], bool | None]]] = {}
        #: Tasks that were resumed when the turn had ended.
        self._again: deque[asyncio.Event] = deque()

    @property
    def is_busy(self) -> bool:
        """True if others wait, so that they come first."""
        return bool(self._resumed or self._again or self.waiting)

    def check(self) -> bool:
        """Begins the turn, or returns True if it has ended."""
        now = self._clock()
        if self._end:
            self.is_over = now >= self._end
        else:
            self._end = now + self._seconds
            self._schedule()
        return self.is_over

    def wait(self, subject: Hashable, resume: Callable[[], bool | None]) -> None:
        """Calls `resume` in a later iteration. Subjects, such as networks or keys, take turns.
        resume: returns False if nothing was resumed, which takes no turn.
        """
        self.waiting.setdefault(subject, deque()).append(resume)
        self._schedule()

    async def take(self, subject: Hashable) -> None:
        turn = asyncio.Event()
        self.wait(subject, turn.set)
        await turn.wait()
        while self.check():
            turn.clear()
            self._again.append(turn)
            await turn.wait()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        now = self._clock()
        number = 1 if 0 < self._end <= now else 2 * self._number
        if self._reads:
            number = max(int((now - self._began) / self._seconds), 1)
        self._number, self._began = min(number, _RESUMED), now
        self._end, self.is_over, self._is_scheduled = 0.0, False, False
        end, self._resumed = now + self._seconds, 0
        while self._resumed < self._number and (self._again or self.waiting):
            self._resumed += self._resume()
            if self._clock() >= end:
                break
        if self.is_busy:
            self._schedule()  # after the tasks that were resumed

    def _resume(self) -> bool:
        if self._again:
            self._again.popleft().set()
            return True
        subject, functions = next(iter(self.waiting.items()))
        resume = functions.popleft()
        if not functions:
            del self.waiting[subject]
        if resume() is False:
            return False
        if functions:
            self.waiting[subject] = self.waiting.pop(subject)
        return True


class Reads:
    """The reads of connections, one after another, into one buffer."""

    def __init__(self, size: int) -> None:
        self.buffer = memoryview(bytearray(size))
        self._turns = Turns(READ_TURN_S, time.thread_time, reads=True)
        self._size = 0

    def begin(self, size: int) -> memoryview:
        self._size = min(size, SMALL_READ_BYTES) if self._turns.is_over else size
        return self.buffer[: self._size]

    def end(
        self, size: int, transport: asyncio.Transport, is_paused: Callable[[], bool], subject: str
    ) -> None:
        """Ends a read. After the turn, or while others wait, a connection that can have more data
        is paused, and reads in a later iteration. size: number of bytes that were read. is_paused:
        reading is paused for another reason, whose end resumes it. subject: of the connection, see
        `Turns.wait`.
        """
        if size > SMALL_READ_BYTES:
            self._turns.check()
        is_over = self._turns.is_over or self._turns.waiting
        if size == self._size and is_over and not is_paused():
            transport.pause_reading()
            self._turns.wait(subject, partial(_resume, transport, is_paused))


def _resume(transport: asyncio.Transport, is_paused: Callable[[], bool]) -> bool:
    if transport.is_closing() or is_paused():
        return False
    transport.resume_reading()
    return True
