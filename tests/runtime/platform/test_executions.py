"""Slots for concurrent operations."""

import asyncio
from collections import Counter
from typing import Any
from unittest.mock import patch

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.platform import executions
from gatehouse.platform.executions import WAITING_MAX, Slots, SubjectLimit
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.bound("platform.executions:WAITING_MAX")
@pytest.mark.parametrize("subjects", [(), ("link", "network", "a")])
async def test_waiting_operations_of_a_subject_are_bounded(subjects: tuple[str, ...]) -> None:
    slots, ends = Slots(1, 1), asyncio.Event()

    async def operate(*subjects: str) -> None:
        async with slots.hold(*subjects):
            await ends.wait()

    running = [asyncio.create_task(operate(*subjects)) for _ in range(WAITING_MAX + 1)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(asyncio.gather(operate(*subjects), operate(*subjects)), 1)
    others = [("another link", *subjects[1:]), ("link", "another network", "a")]
    others *= bool(subjects[1:])
    last = [asyncio.create_task(operate(*each)) for each in others]
    await asyncio.sleep(0)
    ends.set()
    results = await asyncio.gather(*running, return_exceptions=True)
    assert sum(isinstance(each, Unavailable) for each in results) == len(last)
    await asyncio.gather(*last, operate("b"))


async def test_last_subjects_of_waiting_operations_take_turns() -> None:
    slots, order = Slots(2), list[str]()

    async def operate(*subjects: str) -> None:
        async with slots.hold(*subjects):
            order.append(subjects[-1])
            await asyncio.sleep(0)

    names = ["a"] * 6 + ["b", "b", "c"]
    running = [
        asyncio.create_task(operate(f"{index}", "network", name))
        for index, name in enumerate(names)
    ]
    for _ in range(2):
        await asyncio.sleep(0)
    running[2].cancel()
    running[7].cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert "".join(order) == "aabcaaa"


async def test_operations_that_wait_have_no_places() -> None:
    slots, begun, ends = Slots(4, 1), list[tuple[str, str]](), asyncio.Event()

    async def operate(network: str, owner: str) -> None:
        async with slots.hold(network, owner):
            begun.append((network, owner))
            await ends.wait()

    waiting = [asyncio.create_task(operate(f"{number}", "a")) for number in range(9)]
    await asyncio.sleep(0)
    other = asyncio.create_task(operate("8", "b"))
    await asyncio.sleep(0)
    assert begun == [("0", "a"), ("8", "b")]
    ends.set()
    await asyncio.gather(*waiting, other)


@pytest.mark.parametrize(("others", "owners"), [(1, "a"), (2, "a"), (2, "ac"), (4, "acde")])
async def test_operation_begins_in_its_turn_although_others_use_its_subjects(
    others: int, owners: str
) -> None:
    slots, begun = Slots(2, 1), list[str]()

    async def operate(name: str, length: int, *subjects: str) -> None:
        async with slots.hold(*subjects):
            begun.append(name)
            for _ in range(length):
                await asyncio.sleep(0)

    async def repeat(*operation: Any) -> None:
        while "x" not in begun and len(begun) < 99:
            await operate(*operation)

    busy = [("a", 5, "network", owner) for owner in owners]
    busy.append(("b", 7, "other network", "owner"))
    running = [asyncio.create_task(repeat(*each)) for each in busy * others]
    running.append(asyncio.create_task(operate("x", 1, "network", "owner")))
    await asyncio.gather(*running)
    assert begun.index("x") <= 6 * len(owners)


@pytest.mark.parametrize("busy", ["network link{}", "network{} link", "same same"])
async def test_no_network_or_link_has_the_turns_of_its_owner(busy: str) -> None:
    slots, begun = Slots(2), list[str]()

    async def operate(subjects: str) -> None:
        async with slots.hold(*subjects.split(), "owner"):
            begun.append(subjects)
            await asyncio.sleep(0)

    operations = [operate(busy.format(number)) for number in range(9)]
    await asyncio.gather(*operations, operate("b a"))
    assert begun.index("b a") == 2


async def test_others_take_turns_while_the_next_operation_waits() -> None:
    slots, order = Slots(2, 1), list[str]()

    async def operate(name: str, length: int = 1, subject: str = "") -> None:
        async with slots.hold(subject or name, name):
            order.append(name)
            for _ in range(length):
                await asyncio.sleep(0)

    others = [operate(name) for name in "aaaabb"]
    await asyncio.gather(operate("x", 50, "network"), operate("y", 1, "network"), *others)
    assert "".join(order) == "xaababay"


_OPERATIONS = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from("ijj"),
    st.sampled_from("xxy"),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 4),
)


@given(st.lists(_OPERATIONS, max_size=30), st.integers(1, 4))
@settings(max_examples=300)
def test_operations_begin_within_the_limits(
    operations: list[tuple[str, str, str, int, bool, int]], waiting_max: int
) -> None:
    async def run() -> None:
        slots, used, tasks = Slots(3, 2), Counter[str](), list[asyncio.Task[None]]()

        async def operate(link: str, network: str, owner: str, length: int) -> None:
            async with slots.hold(SubjectLimit(link, 1), network, owner):
                used.update((link, network, owner, "all"))
                assert used["all"] <= 3
                assert used[link] == 1
                assert max(used[network], used[owner]) <= 2
                try:
                    for _ in range(length):
                        await asyncio.sleep(0)
                finally:
                    used.subtract((link, network, owner, "all"))

        for link, network, owner, length, pauses, cancelled in operations:
            tasks.append(asyncio.create_task(operate(link, network, owner, length)))
            if pauses:
                await asyncio.sleep(0)
            for task in tasks[-cancelled:][:1]:
                task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        errors = [each for each in results if each is not None]
        assert all(isinstance(each, asyncio.CancelledError | Unavailable) for each in errors)
        assert (slots.free, slots._used, slots._turns, slots._waiting) == (3, {}, {}, {})

    with patch.object(executions, "WAITING_MAX", waiting_max):
        asyncio.run(run())
