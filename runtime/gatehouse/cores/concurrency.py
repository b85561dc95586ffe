"""Limits the number of requests that a worker sends to a Core at the same time. Further requests wait in a short queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gatehouse.errors import CoreOverloaded


class _Slots:
    """Slots of one Core. `users`: requests that have a slot or wait for one. `waiting`: requests that wait."""

    __slots__ = ("semaphore", "users", "waiting")

    def __init__(self, requests_max: int) -> None:
        self.semaphore = asyncio.Semaphore(requests_max)
        self.users = 0
        self.waiting = 0


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """Not thread-safe; use in a single event loop.

    requests_max: maximum number of requests in progress per Core. queue_max: maximum number of requests that wait for a Core.
    timeout_s: maximum time that a request waits.
    """

    requests_max: int
    queue_max: int
    timeout_s: float
    _cores: dict[str, _Slots] = field(default_factory=dict)

    async def acquire(self, core: str) -> None:
        """Waits until the Core has a free slot, in the order of arrival. Call `release` after the request.

        Raises CoreOverloaded if the queue is full or the wait is too long.
        """
        slots = self._cores.get(core)
        if slots is None:
            slots = self._cores[core] = _Slots(self.requests_max)
        slots.users += 1
        try:
            if slots.semaphore.locked():
                await self._wait(slots)
            else:
                await slots.semaphore.acquire()
        except BaseException:
            self._leave(core, slots)
            raise

    def release(self, core: str) -> None:
        slots = self._cores[core]
        slots.semaphore.release()
        self._leave(core, slots)

    def waiting(self) -> int:
        """Number of requests that wait for a slot of any Core."""
        return sum(slots.waiting for slots in self._cores.values())

    async def _wait(self, slots: _Slots) -> None:
        if slots.waiting >= self.queue_max:
            raise CoreOverloaded(detail="the queue is full")
        slots.waiting += 1
        try:
            async with asyncio.timeout(self.timeout_s):
                await slots.semaphore.acquire()
        except TimeoutError:
            raise CoreOverloaded(detail=f"no free slot within {self.timeout_s} s") from None
        finally:
            slots.waiting -= 1

    def _leave(self, core: str, slots: _Slots) -> None:
        slots.users -= 1
        if not slots.users:
            del self._cores[core]
