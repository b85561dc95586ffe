"""Batched writes are in order and bounded."""

import asyncio

import pytest
from gatehouse.platform.batched_writes import WRITES_MAX, BatchedWrites


class Transport(asyncio.Transport):
    def __init__(self, written: list[bytes]) -> None:
        super().__init__()
        self.written = written
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed


async def test_writes_are_performed_in_order_before_callbacks_that_are_scheduled_later() -> None:
    written: list[bytes] = []
    first, second, writes = Transport(written), Transport(written), BatchedWrites()
    writes.add(first, b"1")
    writes.add(second, b"2")
    asyncio.get_running_loop().call_soon(written.append, b"callback")
    writes.add(first, b"3")
    assert written == []
    await asyncio.sleep(0)
    assert written == [b"1", b"2", b"3", b"callback"]


async def test_flush_performs_the_writes_once() -> None:
    written: list[bytes] = []
    transport, closed, writes = Transport(written), Transport(written), BatchedWrites()
    writes.add(transport, b"1")
    writes.flush()
    assert written == [b"1"]
    writes.add(closed, b"ignored")
    writes.add(transport, b"2")
    closed.closed = True
    await asyncio.sleep(0)
    assert written == [b"1", b"2"]


@pytest.mark.bound("platform.batched_writes:WRITES_MAX")
async def test_number_of_waiting_writes_is_bounded() -> None:
    written: list[bytes] = []
    transport, writes = Transport(written), BatchedWrites()
    for number in range(WRITES_MAX + 1):
        writes.add(transport, b"%d" % number)
    assert written == [b"%d" % number for number in range(WRITES_MAX)]
    await asyncio.sleep(0)
    assert len(written) == WRITES_MAX + 1
