"""Coroutines without a task, and slots for concurrent operations."""

import asyncio
from dataclasses import dataclass

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.platform.executions import (
    WAITING_MAX,
    Cancellable,
    Execution,
    Places,
    Slots,
    in_task,
)
from hypothesis import given
from hypothesis import strategies as st


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


@pytest.mark.parametrize("turn", [True, False])
async def test_last_subjects_of_waiting_operations_take_turns(turn: bool) -> None:
    slots, order = Slots(2), list[str]()

    async def operate(*subjects: str) -> None:
        async with slots.hold(*subjects, turn=turn):
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
    async with slots.hold("a"), slots.hold("b"):
        assert slots._slots.free == 0
    assert slots._slots.free == 2


@dataclass(eq=False)
class _Holder:
    can_end: bool = True
    has_ended: bool = False

    def displace(self) -> bool:
        self.has_ended = self.can_end
        return self.can_end


@given(st.integers(1, 9), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_subjects_have_equal_shares_of_places(number: int, steps: list[tuple[str, bool]]) -> None:
    places = Places(number)
    held: dict[str, list[_Holder]] = {"a": [], "b": [], "c": []}
    for subject, leaves in steps:
        own, most = held[subject], max(map(len, held.values()))
        if leaves and own:
            places.leave(subject, own.pop(0))
            continue
        oldest = [each[0] for each in held.values() if len(each) == most > len(own) + 1]
        holder, is_full = _Holder(), places.used == number
        has_place = places.take(subject, holder)
        assert has_place is (not is_full or bool(oldest))
        assert sum(each.has_ended for each in oldest) == (is_full and has_place)
        if has_place:
            own.append(holder)
        else:
            places.leave(subject, holder)
        for name in held:
            held[name] = [each for each in held[name] if not each.has_ended]
        assert places.used == sum(map(len, held.values()))


def test_holder_that_cannot_end_keeps_its_place() -> None:
    places, fixed, ended = Places(5), _Holder(can_end=False), _Holder()
    for subject, holder in (("a", fixed), ("a", ended), ("b", _Holder()), ("b", _Holder())):
        assert places.take(subject, holder)
    assert places.take("a", _Holder(can_end=False))
    assert places.take("c", _Holder())
    assert (fixed.has_ended, ended.has_ended, places.used) == (False, True, 5)
    assert places.take("d", _Holder())  # of "b", because those of "a" cannot end
    assert not places.take("e", _Holder())


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


async def test_coroutine_whose_task_has_not_begun_is_cancelled() -> None:
    running, ended = set[Cancellable](), asyncio.Event()

    async def work() -> None:
        try:
            await in_task()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # such as for a refund
            ended.set()

    execution = _Work()
    execution.execute(work(), running)
    execution.cancel()
    await asyncio.wait_for(ended.wait(), 10)
    await asyncio.sleep(0)
    assert running == set()
