"""Readiness probes of the gateway's dependencies."""

from __future__ import annotations

from collections.abc import Callable

from gatehouse.errors import Unavailable
from gatehouse.redis.connection import RedisConnection, RedisLogin, RedisReplyError

PROBE_TIMEOUT_S = 2.0


class FreshnessProbe:
    """Succeeds if the key state is recent enough for decisions."""

    name = "keys"

    def __init__(self, staleness_ms: Callable[[], int], max_staleness_ms: int) -> None:
        self._staleness_ms = staleness_ms
        self._max_staleness_ms = max_staleness_ms

    async def check(self) -> None:
        if self._staleness_ms() > self._max_staleness_ms:
            raise Unavailable("The key state is too old", detail=f"older than {self._max_staleness_ms} ms")


class RedisProbe:
    """Succeeds if Redis answers. Uses its own connection, so that it never delays a request."""

    name = "redis"

    def __init__(self, login: RedisLogin) -> None:
        self._login = login

    async def check(self) -> None:
        connection = RedisConnection(self._login)
        try:
            await connection.open(PROBE_TIMEOUT_S)
            await connection.call(("PING",), PROBE_TIMEOUT_S)
        except (OSError, TimeoutError, RedisReplyError) as exc:
            raise Unavailable("Redis is not available", detail=type(exc).__name__) from exc
        finally:
            connection.close()
