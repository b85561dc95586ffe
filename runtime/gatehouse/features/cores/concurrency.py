"""Limits the number of requests that a worker sends to a Core at the same time. Further requests
wait in a short queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from gatehouse.core.errors import CoreOverloaded


class _Slots:
    """Slots of one Core. `waiters`: requests that wait for a slot, in the order of arrival."""

    __slots__ = ("free", "waiters")

    def __init__(self, requests_max: int) -> None:
        self.free = requests_max
        self.waiters: deque[asyncio.Future[None]] = deque()


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """Not thread-safe; use in a single event loop.

    requests_max: maximum number of requests in progress per Core. queue_max: maximum number of
        requests that wait for a Core.
    timeout_s: maximum time that a request waits.
    """

    requests_max: int
    queue_max: int
    timeout_s: float
    #: Cores with requests in progress.
    _cores: dict[str, _Slots] = field(default_factory=dict)

    async def acquire(self, core: str) -> None:
        """Waits until the Core has a free slot, in the order of arrival. Call `release` after the
        request.

        Raises CoreOverloaded if the queue is full or the wait is too long.
        """
        if not self.acquire_now(core):
            await self._wait(core, self._cores[core].waiters)

    def acquire_now(self, core: str) -> bool:
        """Takes a slot if one is free. Returns False if the request has to wait."""
        slots = self._cores.get(core)
        if slots is None:
            slots = self._cores[core] = _Slots(self.requests_max)
        if not slots.free:
            return False
        slots.free -= 1
        return True

    def release(self, core: str) -> None:
        """Passes the slot to the request that has waited longest."""
        slots = self._cores[core]
        while slots.waiters:
            waiter = slots.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        slots.free += 1
        if slots.free == self.requests_max:
            del self._cores[core]

    def waiting(self) -> int:
        """Number of requests that wait for a slot of any Core."""
        return sum(len(slots.waiters) for slots in self._cores.values())

    async def _wait(self, core: str, waiters: deque[asyncio.Future[None]]) -> None:
        if len(waiters) >= self.queue_max:
            raise CoreOverloaded(detail="the queue is full")
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            async with asyncio.timeout(self.timeout_s):
                await waiter
        except BaseException as exc:
            if waiter.cancelled():
                with suppress(ValueError):  # `release` has removed it
                    waiters.remove(waiter)
            else:
                # The slot was passed at the moment of the timeout or of the cancellation.
                self.release(core)
            if isinstance(exc, TimeoutError):
                raise CoreOverloaded(detail=f"no free slot within {self.timeout_s} s") from None
            raise
