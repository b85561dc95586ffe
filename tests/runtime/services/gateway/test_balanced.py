"""Three gateways that restart one after another."""

import asyncio
import itertools
import json
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox import child_processes
from sandbox.ports import free_port
from tests.runtime.services.gateway.conftest import (
    Core,
    Gateway,
    Key,
    Reply,
    gateway_environment,
    limit,
    read_reply,
    start_gateway,
)
from tests.runtime.waiting import PAUSE_S, until

GATEWAYS = 3


@dataclass
class Gateways:
    environment: dict[str, str]
    folder: Path
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(GATEWAYS)])
    children: list[child_processes.Child] = field(default_factory=list)

    def start(self, number: int) -> child_processes.Child:
        port = str(self.ports[number])
        return start_gateway(
            self.environment | {"GATEHOUSE_GATEWAY_PORT": port}, self.folder / f"{port}.log"
        )

    async def restart(self, number: int) -> int:
        child = self.children[number]
        child.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(child.process.wait, 60)
        self.children[number] = await asyncio.to_thread(self.start, number)
        return status


@pytest.fixture
def gateways(database: Any, redis_url: str, tmp_path: Path) -> Iterator[Gateways]:
    settings = {"GATEHOUSE_DRAIN_S": "2"}
    started = Gateways(gateway_environment(database.app_url, redis_url, 0, **settings), tmp_path)
    try:
        for number in range(GATEWAYS):
            started.children.append(started.start(number))
        yield started
    finally:
        for child in started.children:
            child.stop(signal.SIGINT)


@dataclass
class Clients:
    """Persistent connections that send requests until `stopped`, and do not repeat a request."""

    key: Key
    replies: list[Reply] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stopped: bool = False

    def requests(self) -> Iterator[bytes]:
        body = json.dumps({"token": self.key.token})
        head = f"HTTP/1.1\r\nHost: g\r\n{self.key.header}\r\n"
        return itertools.cycle(
            text.encode()
            for text in (
                f"POST /v1/keys/verify {head}Content-Length: {len(body)}\r\n\r\n{body}",
                f"GET /v1/keys/verify {head}\r\n",
                f"POST /cores/restarted/file {head}Content-Length: 0\r\n\r\n",
            )
        )

    @asynccontextmanager
    async def running(self, ports: Sequence[int]) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._client([*ports[start:], *ports[:start]]))
            for start in range(2 * GATEWAYS)
        ]
        try:
            yield
        finally:
            self.stopped = True
            await asyncio.gather(*tasks)

    async def _client(self, ports: Sequence[int]) -> None:
        """Uses one connection until the server closes it after a response, then the next port."""
        requests, next_port = self.requests(), itertools.cycle(ports)
        while not self.stopped:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", next(next_port))
            except ConnectionRefusedError:
                continue
            try:
                await self._use(reader, writer, requests)
            except (OSError, asyncio.IncompleteReadError) as exc:
                self.failures.append(repr(exc))
            finally:
                writer.close()

    async def _use(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Iterator[bytes]
    ) -> None:
        while not self.stopped:
            writer.write(next(requests))
            reply = await read_reply(reader)
            self.replies.append(reply)
            if not reply.whole or reply.status != 200:
                self.failures.append(f"{reply.status} {reply.body!r}")
            if reply.header("connection") == "close":
                return
            await asyncio.sleep(PAUSE_S)


async def test_rolling_restart_fails_no_request(
    gateway: Gateway, gateways: Gateways, core: Core
) -> None:
    await gateway.register(core.url, name="restarted", ttl_s=300)
    clients = Clients(await gateway.create_key(limits=[limit(10**9, 1)]))
    for port in gateways.ports:  # every gateway has received the registration of the Core
        async with asyncio.timeout(60):
            while (
                await gateway.on_port(port).get("/cores/restarted/a", clients.key.header)
            ).status != 200:
                pass
    async with clients.running(gateways.ports):
        for number in range(GATEWAYS):
            assert await gateways.restart(number) == 0
            enough = len(clients.replies) + 60
            await until(lambda: len(clients.replies) >= enough or clients.failures)  # noqa: B023
    assert clients.failures == []
    # The clients connected to other gateways because responses contained Connection: close.
    assert sum(reply.header("connection") == "close" for reply in clients.replies) >= GATEWAYS
