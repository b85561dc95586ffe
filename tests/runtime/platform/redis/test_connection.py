"""Readiness probe of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.platform.redis import connection
from gatehouse.platform.redis.connection import RedisProbe, redis_login

from tests.runtime.silent_servers import full_server, silent_server


@pytest.mark.requirement("TR-12")
async def test_responding_redis_is_available(redis_url: str) -> None:
    await RedisProbe(redis_login(redis_url, "url")).check()


@pytest.mark.bound("redis.connection:PROBE_TIMEOUT_S")
@pytest.mark.requirement("TR-12")
@pytest.mark.parametrize("server", [silent_server, full_server], ids=["silent", "full"])
async def test_redis_that_does_not_respond_is_unavailable(
    server: Callable[[], AbstractContextManager[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PROBE_TIMEOUT_S", 0.1)
    with server() as port:
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable) as error:
                await RedisProbe(redis_login(f"redis://127.0.0.1:{port}", "url")).check()
    assert error.value.detail == "TimeoutError"
