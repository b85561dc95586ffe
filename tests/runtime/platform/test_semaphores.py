"""Limits on requests in progress."""

import asyncio

import pytest
from gatehouse.core.errors import TooManyRequests, Unavailable
from gatehouse.platform import semaphores
from gatehouse.platform.semaphores import Limit, RequestLimits


async def test_requests_of_an_owner_leave_requests_to_others() -> None:
    requests, waits = RequestLimits(3, 2), list[str]()

    async def request(owner: str) -> None:
        async with requests.request(owner) as waited:
            if waited:
                waits.append(owner)
            await asyncio.sleep(0)

    await asyncio.gather(*map(request, "aaabb"))
    assert sorted(waits) == ["a", "b"]
    assert not requests._owners


async def test_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semaphores, "WAIT_S", 0.01)
    requests, limit = RequestLimits(1, 2), Limit(1)
    async with requests.request("a"), limit:
        with pytest.raises(TooManyRequests):
            await requests.request("b").__aenter__()
        with pytest.raises(Unavailable):
            await limit.__aenter__()
    async with requests.request("b") as waited, limit:
        assert not waited
