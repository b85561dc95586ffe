"""Turns of what waits in an event loop."""

import asyncio

import pytest
from gatehouse.platform.turns import _RESUMED, Turns


@pytest.mark.parametrize("seconds", [0.0, 60.0])
async def test_each_task_gets_a_turn_while_others_take_theirs(seconds: float) -> None:
    turns, remaining = Turns(seconds), 3 * _RESUMED

    async def task(number: int) -> None:
        nonlocal remaining
        while turns.check():
            turn = asyncio.Event()
            turns.wait(f"network {number % 3}", turn.set)
            await turn.wait()
        remaining -= 1

    async def other() -> None:
        while remaining:
            turns.check()
            await asyncio.sleep(0)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(other())
        for number in range(remaining):
            group.create_task(task(number))


async def test_functions_that_are_not_resumed_follow() -> None:
    turns, resumed = Turns(0.0), asyncio.Queue[int]()
    for number in range(2 * _RESUMED):
        turns.wait("network", lambda number=number: resumed.put_nowait(number))  # type: ignore[misc]
    async with asyncio.timeout(60):
        assert [await resumed.get() for _ in range(2 * _RESUMED)] == list(range(2 * _RESUMED))
