"""The concurrency limit of Cores: slots; the order, bound and timeout of the queue; cancelled
requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gatehouse.core.errors import CoreOverloaded
from gatehouse.features.cores.concurrency import ConcurrencyLimit

PATIENCE_S = 60


class Requests:
    """Starts requests, which hold their slot until they are finished."""

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self.limit = limit
        self.started: list[str] = []
        self._finish: dict[str, asyncio.Event] = {}

    async def _run(self, name: str, core: str) -> None:
        await self.limit.acquire(core)
        try:
            self.started.append(name)
            await self._finish[name].wait()
        finally:
            self.limit.release(core)

    async def start(self, name: str, core: str = "docs") -> asyncio.Task[None]:
        self._finish[name] = asyncio.Event()
        task = asyncio.create_task(self._run(name, core))
        await _settle()
        return task

    async def finish(self, name: str) -> None:
        self._finish[name].set()
        await _settle()


async def _settle() -> None:
    """Lets all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


@contextmanager
def overloaded() -> Iterator[None]:
    with pytest.raises(CoreOverloaded) as caught:
        yield
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (
        503,
        "core_overloaded",
        1,
    )


async def test_requests_wait_in_order_of_arrival() -> None:
    requests = Requests(ConcurrencyLimit(2, 10, PATIENCE_S))
    tasks = [await requests.start(name) for name in "abcd"]
    assert (requests.started, requests.limit.waiting()) == (["a", "b"], 2)
    await requests.finish("b")
    assert requests.started == ["a", "b", "c"]
    tasks.append(await requests.start("e"))
    await requests.finish("a")
    assert (requests.started, requests.limit.waiting()) == (["a", "b", "c", "d"], 1)
    for name in "cde":
        await requests.finish(name)
    await asyncio.gather(*tasks)
    assert (requests.started, requests.limit.waiting()) == (list("abcde"), 0)


async def test_new_request_does_not_overtake_the_queue() -> None:
    requests = Requests(ConcurrencyLimit(1, 10, PATIENCE_S))
    first, second = await requests.start("a"), await requests.start("b")
    requests._finish["a"].set()
    third = await requests.start("c")
    assert requests.started == ["a", "b"]
    await requests.finish("b")
    await requests.finish("c")
    await asyncio.gather(first, second, third)


async def test_cores_have_separate_slots() -> None:
    requests = Requests(ConcurrencyLimit(1, 0, PATIENCE_S))
    tasks = [await requests.start("a", "docs"), await requests.start("b", "orders")]
    assert requests.started == ["a", "b"]
    with overloaded():
        await requests.limit.acquire("docs")
    for name in "ab":
        await requests.finish(name)
    await asyncio.gather(*tasks)


async def test_full_queue_is_rejected() -> None:
    requests = Requests(ConcurrencyLimit(1, 1, PATIENCE_S))
    tasks = [await requests.start("a"), await requests.start("b")]
    with overloaded():
        await requests.limit.acquire("docs")
    for name in "ab":
        await requests.finish(name)
    await asyncio.gather(*tasks)


@pytest.mark.bound("core_queue_timeout_s")
async def test_wait_is_bounded() -> None:
    requests = Requests(ConcurrencyLimit(1, 1, 0.01))
    task = await requests.start("a")
    with overloaded():
        await requests.limit.acquire("docs")
    assert requests.limit.waiting() == 0
    await requests.finish("a")
    await task


async def test_cancelled_request_leaves_the_queue() -> None:
    requests = Requests(ConcurrencyLimit(1, 2, PATIENCE_S))
    first, second, third = [await requests.start(name) for name in "abc"]
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert requests.limit.waiting() == 1
    await requests.finish("a")
    assert requests.started == ["a", "c"]
    await requests.finish("c")
    await asyncio.gather(first, third)


async def test_request_that_is_cancelled_with_its_slot_passes_it_on() -> None:
    requests = Requests(ConcurrencyLimit(1, 2, PATIENCE_S))
    first, second, third = [await requests.start(name) for name in "abc"]
    requests._finish["a"].set()
    await first  # the slot is passed to the second request, which has not run yet
    second.cancel()
    await _settle()
    assert requests.started[-1] == "c"
    await requests.finish("c")
    await asyncio.gather(second, third, return_exceptions=True)
    assert requests.limit.waiting() == 0


async def test_unused_cores_take_no_memory() -> None:
    limit = ConcurrencyLimit(1, 0, PATIENCE_S)
    for number in range(3):
        await limit.acquire(f"core-{number}")
        with overloaded():
            await limit.acquire(f"core-{number}")
        limit.release(f"core-{number}")
    assert limit._cores == {}
