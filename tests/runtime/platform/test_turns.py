"""Turns of what waits in an event loop."""

import asyncio
import itertools
import time
from dataclasses import dataclass
from typing import Any, cast

import pytest
from gatehouse.platform.turns import _RESUMED, READ_TURN_S, Reads, Turns


@pytest.mark.parametrize(("cost_s", "others"), [(0.1, 2 * _RESUMED), (2.0, 5)])
async def test_subjects_take_turns(cost_s: float, others: int) -> None:
    now, of_others, remaining = 0.0, 0, 20
    turns = Turns(1.0, lambda: now)

    async def task(subject: int) -> None:
        nonlocal now, of_others, remaining
        while remaining:
            if turns.is_busy or turns.check():
                await turns.take(subject)
            now += cost_s
            of_others = of_others + 1 if subject else 0
            remaining -= not subject
            assert of_others <= others or not remaining
            await asyncio.sleep(0)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(20 * _RESUMED):
            group.create_task(task(number % 4 + 1))
        group.create_task(task(0))


async def test_functions_that_are_not_resumed_follow() -> None:
    turns, resumed = Turns(0.0), asyncio.Queue[int]()
    for number in range(2 * _RESUMED):
        turns.wait("network", lambda number=number: resumed.put_nowait(number))  # type: ignore[misc]
    async with asyncio.timeout(60):
        assert [await resumed.get() for _ in range(2 * _RESUMED)] == list(range(2 * _RESUMED))


async def test_closed_connections_take_no_turns() -> None:
    turns, resumed = Turns(60.0, reads=True), asyncio.Event()
    for _ in range(1_000):
        turns.wait("network", lambda: False)
    turns.wait("network", resumed.set)
    await asyncio.sleep(0)
    assert resumed.is_set()


@dataclass
class _Connection:
    subject: str
    read: int = 0
    is_paused: bool = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return False


@pytest.mark.parametrize("floods", [1, 8])
async def test_large_reads_do_not_wait_for_all_connections_of_others(
    monkeypatch: pytest.MonkeyPatch, floods: int
) -> None:
    now, size = 0.0, 16_384
    monkeypatch.setattr(time, "thread_time", lambda: now)
    reads, other = Reads(size), _Connection("other")
    flood = [_Connection(f"flood {number % floods}") for number in range(60 * floods)]
    while other.read < 20 * size:
        for connection in [each for each in (*flood, other) if not each.is_paused]:
            read = len(reads.begin(size))
            connection.read += read
            now += READ_TURN_S / 2 * read / size
            transport = cast("Any", connection)
            reads.end(read, transport, lambda: False, connection.subject)
        await asyncio.sleep(0)
    assert sum(each.read for each in flood) < 4 * floods * other.read


async def test_connections_wait_for_few_iterations_if_these_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, size = 0.0, 16_384
    monkeypatch.setattr(time, "thread_time", lambda: now)
    reads = Reads(size)
    connections = [_Connection(f"network {number}") for number in range(40)]
    for connection in connections:
        read = len(reads.begin(size))
        now += READ_TURN_S
        reads.end(read, cast("Any", connection), lambda: False, connection.subject)
    numbers = []
    for turns in (0, 3.5, 0):
        await asyncio.sleep(0)
        now += turns * READ_TURN_S
        numbers.append(sum(not each.is_paused for each in connections))
    assert numbers == [1 + _RESUMED, 2 + _RESUMED, 5 + _RESUMED]  # the first is not paused


async def test_connection_that_is_also_paused_otherwise_takes_no_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "thread_time", itertools.count().__next__)
    reads, is_paused = Reads(2048), True
    connection, other = _Connection("network"), _Connection("network")
    for _ in range(9):
        reads.end(len(reads.begin(2048)), cast("Any", connection), lambda: is_paused, "network")
    reads.end(len(reads.begin(2048)), cast("Any", other), lambda: False, "network")
    is_paused, connection.is_paused = False, True
    for _ in range(2):
        await asyncio.sleep(0)
    assert (connection.is_paused, other.is_paused) == (True, False)
