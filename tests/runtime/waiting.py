"""Waits for conditions, and pauses between requests."""

import asyncio
from collections.abc import Callable

#: Time between the requests of a client, and between two reads of a state. Without it, a test would
#: use all processors while it waits.
PAUSE_S = 0.01


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(PAUSE_S)
