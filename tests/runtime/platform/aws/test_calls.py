"""Calls to AWS services: a bounded number at the same time, and a bounded wait."""

import asyncio
import threading

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.platform import aws, semaphores

PATIENCE_S = 60


async def test_calls_in_progress_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, complete = threading.Semaphore(0), threading.Event()

    def operation() -> None:
        begun.release()
        assert complete.wait(PATIENCE_S)

    calls = [asyncio.create_task(aws.call(operation, "S3")) for _ in range(aws.CALLS_MAX)]
    for _ in calls:
        assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_S)
    monkeypatch.setattr(semaphores, "WAIT_S", 0.01)
    with pytest.raises(Unavailable):
        await aws.call(operation, "S3")
    complete.set()
    await asyncio.gather(*calls)
