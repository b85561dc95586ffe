"""Three gateways, while keys are revoked and servers are killed. The assertions compare values that
the gateways report with the time of the confirmation, not durations.
"""

import asyncio
import itertools
import json
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId
from gatehouse.core.lifecycle import Action
from gatehouse.core.roles import OWNERS
from gatehouse.features.keys.service import Changed, KeyService
from gatehouse.platform.db.pool import Pool

from tests.runtime.services.gateway.conftest import OPERATOR, Gateway, Key, key_service, read_reply
from tests.runtime.waiting import until

GATEWAYS = 3
CLIENTS = 2  # per gateway
KEYS = 75
BOUND_MS = 3000


@dataclass(frozen=True)
class Result:
    gateway: int
    key: str
    code: str
    decided_at: float
    staleness_ms: int


@dataclass
class Load:
    """Clients that verify keys in turn on persistent connections, until `stopped`."""

    ports: list[int]
    keys: list[Key]
    results: list[Result] = field(default_factory=list)
    pending: Counter[int] = field(default_factory=Counter)
    stopped: bool = False

    def count(self, gateway: int, code: str = "VALID") -> int:
        return sum(result.gateway == gateway and result.code == code for result in self.results)

    @asynccontextmanager
    async def running(self) -> Any:
        clients = [
            asyncio.create_task(self._client(gateway, client))
            for gateway in range(len(self.ports))
            for client in range(CLIENTS)
        ]
        try:
            yield
        finally:
            self.stopped = True
            await asyncio.gather(*clients)

    async def _client(self, gateway: int, offset: int) -> None:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[gateway])
            for key in itertools.cycle(self.keys[offset::CLIENTS] + self.keys[:offset]):
                if self.stopped:
                    break
                body = json.dumps({"token": key.token}).encode()
                head = (
                    f"POST /v1/keys/verify HTTP/1.1\r\nHost: "
                    f"gateway.test\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                self.pending[gateway] += 1
                writer.write(head.encode() + body)
                try:
                    reply = (await read_reply(reader)).json
                except (asyncio.IncompleteReadError, ConnectionError):
                    return
                self.pending[gateway] -= 1
                decided_at = datetime.fromisoformat(reply["decided_at"]).timestamp()
                self.results.append(
                    Result(gateway, key.id, reply["code"], decided_at, reply["staleness_ms"])
                )
            writer.close()


def decided_since(results: list[Result], confirmed_at: dict[str, float]) -> set[tuple[int, str]]:
    """(gateway, key) of each decision made after the revocation of the key was confirmed."""
    return {
        (result.gateway, result.key)
        for result in results
        if result.decided_at > confirmed_at[result.key]
    }


async def revoked(service: KeyService, key_id: KeyId) -> Changed:
    while True:
        with suppress(Unavailable):  # a busy machine exceeds the deadline of the transaction
            return await service.act(key_id, Action.REVOKE, "load", OPERATOR, OWNERS)


async def test_confirmed_revocations_hold_on_every_gateway(
    gateway: Gateway, start: Any, database: Any, redis_url: str
) -> None:
    ports = [
        start(database.app_url, redis_url, GATEHOUSE_MAX_STALENESS_MS=str(BOUND_MS))[1]
        for _ in range(GATEWAYS)
    ]
    keys = [await gateway.create_key() for _ in range(KEYS)]
    pool = Pool(database.app, application="load", size_max=12)
    service = key_service(pool, BOUND_MS / 1000)
    load = Load(ports, keys)
    confirmed_at: dict[str, float] = {}
    effective: set[str] = set()
    waiting = iter(keys)

    async def operator() -> None:
        for key in waiting:
            done = await revoked(service, KeyId(key.id))
            confirmed_at[key.id] = time.time()
            effective.add(done.effective)

    async with load.running():
        await until(lambda: all(load.count(number) >= KEYS for number in range(GATEWAYS)))
        await asyncio.gather(*(operator() for _ in range(8)))
        before = len(load.results)
        # Until every gateway has verified every key again.
        await until(
            lambda: len(decided_since(load.results[before:], confirmed_at)) == GATEWAYS * KEYS
        )
    await pool.close()

    assert len(confirmed_at) == KEYS
    valid = [result for result in load.results if result.code == "VALID"]
    # Milliseconds are truncated, so the reported time is never later than the decision.
    assert [result for result in valid if result.decided_at > confirmed_at[result.key]] == []
    assert [result for result in valid if result.staleness_ms > BOUND_MS] == []
    denied_at: dict[tuple[int, str], float] = {}
    for result in load.results:
        if result.code == "NOT_FOUND":
            pair = (result.gateway, result.key)
            denied_at[pair] = min(result.decided_at, denied_at.get(pair, result.decided_at))
    assert [
        result
        for result in valid
        if result.decided_at > denied_at.get((result.gateway, result.key), float("inf"))
    ] == []
    # Ordered by decision time, because responses arrive in any order.
    last = {
        (result.gateway, result.key): result.code
        for result in sorted(load.results, key=lambda result: result.decided_at)
    }
    assert set(last.values()) <= {"NOT_FOUND", "UNAVAILABLE"}
    assert {result.code for result in load.results} >= {"VALID", "NOT_FOUND"}
    assert "everywhere" in effective
