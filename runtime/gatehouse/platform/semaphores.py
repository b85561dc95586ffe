"""Limits on operations in progress: of a process, and of an owner in it. Others wait in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from gatehouse.core.errors import TooManyRequests, Unavailable

#: Maximum wait in seconds.
WAIT_S = 10.0


class Limit(asyncio.Semaphore):
    """Limits the operations in progress of a process. Raises Unavailable after WAIT_S."""

    async def __aenter__(self) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                await self.acquire()
        except TimeoutError:
            raise Unavailable(
                "The service is processing too many requests. Try again.",
                detail=f"too many operations in progress for {WAIT_S:g} s",
            ) from None


class RequestLimits:
    """Limits the requests in progress of a process and of each owner."""

    def __init__(self, process_max: int, owner_max: int) -> None:
        self._process, self._owner_max = asyncio.Semaphore(process_max), owner_max
        #: Of owners with requests.
        self._owners: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def request(self, owner: str) -> AsyncIterator[bool]:
        """A request in progress. Yields True if it had to wait. Raises TooManyRequests after
        WAIT_S.
        """
        limits = (self._owners.setdefault(owner, asyncio.Semaphore(self._owner_max)), self._process)
        waits = any(limit.locked() for limit in limits)
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(WAIT_S):
                    for limit in limits:
                        await stack.enter_async_context(limit)
            except TimeoutError:
                raise TooManyRequests("Wait for the responses to your earlier requests.") from None
            yield waits
