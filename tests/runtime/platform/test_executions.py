"""Coroutines without a task, and slots for concurrent operations."""

import asyncio

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.platform.executions import WAITING_MAX, Cancellable, Execution, Slots


@pytest.mark.bound("platform.executions:WAITING_MAX")
async def test_waiting_operations_of_a_subject_are_bounded() -> None:
    slots, ends = Slots(2), asyncio.Event()

    async def operate(subject: str) -> None:
        async with slots.hold(subject):
            await ends.wait()

    running = [asyncio.create_task(operate("a")) for _ in range(WAITING_MAX + 1)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(operate("a"), 1)
    ends.set()
    await asyncio.gather(*running, operate("b"))


class _Work(Execution):
    def ended(self) -> None:
        """Has nothing to end."""


async def test_coroutine_whose_wait_has_just_ended_is_cancelled() -> None:
    future, running, continued = asyncio.Future[None](), set[Cancellable](), []

    async def work() -> None:
        await future
        continued.append(True)

    execution = _Work()
    execution.execute(work(), running)
    future.set_result(None)
    execution.cancel()
    await asyncio.sleep(0)
    assert continued == []
    assert running == set()
