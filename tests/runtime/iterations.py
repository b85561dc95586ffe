"""CPU time of the iterations of an event loop."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tools.fuzz.cpu_time import adjusted

#: Maximum CPU time of an iteration of the event loop. A usual one is several times shorter.
ITERATION_S = 0.06


class LongIteration(AssertionError):
    """An iteration of the event loop took too long."""


async def short_iterations(until: asyncio.Future[Any]) -> None:
    """Waits for a future. Raises LongIteration if an iteration takes longer than ITERATION_S."""
    longest = 0.0
    while not until.done():
        started = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - started)
    if adjusted(longest) > ITERATION_S:
        raise LongIteration(longest)


def repeats_long_iterations(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Repeats a test up to nine times after a LongIteration, which the load of the machine can also
    cause.
    """

    @functools.wraps(test)
    async def repeated(*args: Any, **fixtures: Any) -> None:
        for _ in range(9):
            with suppress(LongIteration):
                return await test(*args, **fixtures)
        return await test(*args, **fixtures)

    return repeated
