"""Limits the number of operations that use much memory at the same time. Further operations wait
for a limited time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gatehouse.core.errors import Unavailable

#: Maximum number of concurrent computations of keys with a passphrase, which use 64 MiB of memory
#: each, and maximum wait of further computations.
ARGON2_PARALLEL = 2
ARGON2_TIMEOUT_S = 10.0


class Slots:
    """The slots of one process for one kind of operation. Use in a single event loop."""

    def __init__(self, number: int, timeout_s: float) -> None:
        """timeout_s: maximum wait for a slot."""
        self._semaphore = asyncio.Semaphore(number)
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Occupies a slot until the context exits. Raises Unavailable if no slot becomes free in
        time.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._semaphore.acquire()
        except TimeoutError:
            detail = f"no free slot within {self._timeout_s:g} s"
            raise Unavailable(
                "The service is processing too many requests. Try again.", detail=detail
            ) from None
        try:
            yield
        finally:
            self._semaphore.release()


def argon2_slots() -> Slots:
    return Slots(ARGON2_PARALLEL, ARGON2_TIMEOUT_S)
