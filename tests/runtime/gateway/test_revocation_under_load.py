"""Load tests: three gateways with PostgreSQL and Redis, while keys are revoked and servers are killed.

What is compared are the gateways' own statements (`decided_at`, `staleness_ms`, counts) and the moment of an acknowledgement, never
how long something took.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import secrets
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from gatehouse.clock import SystemClock
from gatehouse.db import engine as postgres_engine
from gatehouse.db.connection import login
from gatehouse.db.migrations import runner
from gatehouse.http.models import RequestId
from gatehouse.identity.models import Actor
from gatehouse.keys.models import Effective, KeyId
from gatehouse.keys.repository import PostgresKeyStore
from gatehouse.keys.service import KeyService

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local import servers
from tests.runtime.gateway.conftest import Gateway, Key, read_reply

GATES = 3
CLIENTS = 2  # per gateway
KEYS = 300
BOUND_MS = 3000
OPERATOR = Actor(type="bootstrap", id="bootstrap", request_id=RequestId("req_storm"), source_address="192.0.2.1")


@dataclass(frozen=True)
class Answer:
    gateway: int
    key: str
    code: str
    decided_at: float
    staleness_ms: int


@dataclass
class Storm:
    """Clients that verify keys in turn on persistent connections, until `over`."""

    ports: list[int]
    keys: list[Key]
    answers: list[Answer] = field(default_factory=list)
    unanswered: Counter[int] = field(default_factory=Counter)
    over: bool = False

    def count(self, gateway: int, code: str = "VALID") -> int:
        return sum(answer.gateway == gateway and answer.code == code for answer in self.answers)

    @asynccontextmanager
    async def blowing(self) -> Any:
        running = [
            asyncio.create_task(self._client(gateway, one)) for gateway in range(len(self.ports)) for one in range(CLIENTS)
        ]
        try:
            yield
        finally:
            self.over = True
            await asyncio.gather(*running)

    async def _client(self, gateway: int, offset: int) -> None:
        """Stops when its gateway stops."""
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[gateway])
            for key in itertools.cycle(self.keys[offset::CLIENTS] + self.keys[:offset]):
                if self.over:
                    break
                body = json.dumps({"token": key.token}).encode()
                head = f"POST /v1/keys/verify HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {len(body)}\r\n\r\n"
                self.unanswered[gateway] += 1
                writer.write(head.encode() + body)
                try:
                    reply = (await read_reply(reader)).json
                except (asyncio.IncompleteReadError, ConnectionError):
                    return
                self.unanswered[gateway] -= 1
                decided_at = datetime.fromisoformat(reply["decided_at"]).timestamp()
                self.answers.append(Answer(gateway, key.id, reply["code"], decided_at, reply["staleness_ms"]))
            writer.close()


def asked_since(answers: list[Answer], acknowledged: dict[str, float]) -> set[tuple[int, str]]:
    """(gateway, key) of each decision made after the revocation of the key was confirmed."""
    return {(answer.gateway, answer.key) for answer in answers if answer.decided_at > acknowledged[answer.key]}


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.02)


@pytest.mark.requirement("TR-08", "CG-15")
async def test_confirmed_revocations_hold_on_every_gateway(gateway: Gateway, start: Any, database: Any, redis_url: str) -> None:
    ports = [start(database.app_url, redis_url, GATEHOUSE_MAX_STALENESS_MS=str(BOUND_MS))[1] for _ in range(GATES)]
    keys = [await gateway.mint() for _ in range(KEYS)]
    engine = postgres_engine.build(database.app, pool_max=12, application="storm")
    store = PostgresKeyStore(engine, staleness_s=BOUND_MS / 1000)
    service = KeyService(store, SystemClock(), gateway.pepper, "gtk", secrets.token_bytes, BOUND_MS / 1000)
    storm = Storm(ports, keys)
    acknowledged: dict[str, float] = {}
    told: set[Effective] = set()
    waiting = iter(keys)

    async def operator() -> None:
        for key in waiting:
            done = await service.revoke(KeyId(key.id), "storm", OPERATOR)
            acknowledged[key.id] = time.time()
            told.add(done.effective)

    async with storm.blowing():
        await until(lambda: all(storm.count(number) >= KEYS for number in range(GATES)))
        await asyncio.gather(*(operator() for _ in range(8)))
        heard = len(storm.answers)
        # Until every gateway has verified every key again.
        await until(lambda: len(asked_since(storm.answers[heard:], acknowledged)) == GATES * KEYS)
    await engine.dispose()

    assert len(acknowledged) == KEYS
    valid = [answer for answer in storm.answers if answer.code == "VALID"]
    # Milliseconds are truncated, so the reported time is never later than the decision.
    assert [answer for answer in valid if answer.decided_at > acknowledged[answer.key]] == []
    assert [answer for answer in valid if answer.staleness_ms > BOUND_MS] == []
    refused: dict[tuple[int, str], float] = {}
    for answer in storm.answers:
        if answer.code == "NOT_FOUND":
            place = (answer.gateway, answer.key)
            refused[place] = min(answer.decided_at, refused.get(place, answer.decided_at))
    assert [answer for answer in valid if answer.decided_at > refused.get((answer.gateway, answer.key), float("inf"))] == []
    # Ordered by decision time, because responses arrive in any order.
    last = {(answer.gateway, answer.key): answer.code for answer in sorted(storm.answers, key=lambda answer: answer.decided_at)}
    assert set(last.values()) <= {"NOT_FOUND", "UNAVAILABLE"}
    assert {answer.code for answer in storm.answers} >= {"VALID", "NOT_FOUND"}
    assert Effective.EVERYWHERE in told


async def written(port: int) -> int:
    """Number of verifications that a gateway has written to the database."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
    text = (await read_reply(reader)).body.decode()
    writer.close()
    found = re.search(r"^gatehouse_usage_written_total (\S+)$", text, re.MULTILINE)
    return 0 if found is None else int(float(found[1]))


def kill_postgres(server: servers.Postgres) -> None:
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)  # a zombie still counts as the owner of the lock file


def again(server: servers.Postgres, log: Path) -> child_processes.Child:
    """Restarts a killed PostgreSQL with its data and port, once its orphaned processes have ended."""
    data = server.folder / "data"
    command = [str(server.binaries / "postgres"), "-D", str(data), "-p", str(server.port), "-k", str(server.folder)]
    command += [part for name, value in servers._SETTINGS.items() for part in ("-c", f"{name}={value}")]
    identity = servers._unprivileged() if os.geteuid() == 0 else child_processes.UnixUser()

    def ready() -> bool:
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return lines[:1] == [str(child.pid)] and servers._postmaster_ready(data)

    for _ in range(100):
        child = child_processes.start("postgres", command, log=log, cwd=server.folder, user=identity, death_signal=signal.SIGQUIT)
        with suppress(SandboxError):
            child_processes.wait_until(child, ready, "ready for connections", 30)
            return child
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-500:])


@pytest.mark.requirement("TR-13", "TR-12")
async def test_kills_lose_pending_usage_only(gateway: Gateway, start: Any, tmp_path: Path) -> None:
    pids: list[int] = []
    with servers.postgres() as server, servers.redis(on_start=lambda name, pid, folder: pids.append(pid)) as redis:
        # The sandbox disables durability; here, committed data must survive a kill.
        server.sql(f"ALTER ROLE {servers.APP_ROLE} SET synchronous_commit = on")
        await runner.migrate(login(server.owner_url, "url"))
        started = [start(server.app_url, redis) for _ in range(GATES)]
        ports = [port for _, port, _ in started]
        async with asyncpg.create_pool(server.app_url, min_size=1, max_size=2) as pool:
            keys = [await Gateway(0, 0, pool, tmp_path).mint() for _ in range(20)]
        storm = Storm(ports, keys)
        restarted = None
        try:
            async with storm.blowing():
                await until(lambda: all(storm.count(number) >= 200 for number in range(GATES)))
                await until(lambda: _wrote(ports[2]))
                confirmed = await written(ports[2])
                os.killpg(started[2][0].pid, signal.SIGKILL)
                os.kill(pids[0], signal.SIGKILL)
                await until(_more(storm, 200))
                kill_postgres(server)
                await until(lambda: all(storm.count(number, "UNAVAILABLE") for number in range(2)))
                restarted = await asyncio.to_thread(again, server, tmp_path / "again.log")
                await until(_more(storm, 200))
            for child, _, _ in started[:2]:
                await asyncio.to_thread(child.stop)
            counted = int(
                server.sql("SELECT sum(count) FROM usage_count WHERE width_s = 60 AND code = 'VALID'", servers.DATABASE)
            )
        finally:
            if restarted is not None:
                restarted.stop(signal.SIGINT)
    survived = storm.count(0) + storm.count(1)
    assert {answer.code for answer in storm.answers} == {"VALID", "UNAVAILABLE"}
    # Stopped gateways lose nothing; the killed one loses at most what it had not confirmed.
    assert survived + confirmed <= counted <= survived + storm.count(2) + storm.unanswered[2]


async def _wrote(port: int) -> bool:
    return await written(port) > 0


def _more(storm: Storm, number: int) -> Callable[[], bool]:
    """True once both remaining gateways have returned VALID that many more times."""
    before = [storm.count(one) for one in range(2)]
    return lambda: all(storm.count(one) >= before[one] + number for one in range(2))
