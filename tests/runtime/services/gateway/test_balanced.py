"""Three gateways behind nginx, also while they restart."""

import asyncio
import itertools
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox import child_processes
from sandbox.ports import free_port
from tests import requires
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
from tests.runtime.waiting import until

pytestmark = requires.program("nginx")

GATEWAYS = 3
#: Pause of a client between two requests. Without it, the clients would use both cores until the
#: last gateway is restarted.
PAUSE_S = 0.02
#: nginx closes its idle connections before a gateway that is stopping does. Several seconds longer
#: than `keepalive_timeout` of nginx, which may have to wait for the processor.
SETTINGS = {"GATEHOUSE_DRAIN_S": "6"}
CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream gateways {{ {servers} keepalive 16; keepalive_timeout 1s; }}
  server {{
    listen 127.0.0.1:{port};
    add_header X-Upstream $upstream_addr always;
    location / {{
      proxy_pass http://gateways; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""


@dataclass
class Gateways:
    environment: dict[str, str]
    folder: Path
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(GATEWAYS)])
    children: list[child_processes.Child] = field(default_factory=list)

    def start_stopped(self) -> None:
        for number in range(GATEWAYS):
            if number == len(self.children):
                self.children.append(self.start(number))
            elif self.children[number].process.poll() is not None:
                self.children[number] = self.start(number)

    def start(self, number: int) -> child_processes.Child:
        port = str(self.ports[number])
        return start_gateway(
            self.environment | {"GATEHOUSE_GATEWAY_PORT": port}, self.folder / f"gateway-{port}.log"
        )

    async def restart(self, number: int) -> int:
        child = self.children[number]
        child.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(child.process.wait, 60)
        self.children[number] = await asyncio.to_thread(self.start, number)
        return status

    def stop(self) -> None:
        for child in self.children:
            child.process.send_signal(signal.SIGINT)
        for child in self.children:
            child.stop()


@pytest.fixture(scope="module")
def module_gateways(
    database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateways]:
    started = Gateways(
        gateway_environment(database.app_url, redis_url, 0, **SETTINGS),
        tmp_path_factory.mktemp("gateways"),
    )
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def gateways(module_gateways: Gateways) -> Gateways:
    module_gateways.start_stopped()
    return module_gateways


@pytest.fixture
def balanced(gateway: Gateway, gateways: Gateways, tmp_path: Path) -> Iterator[Gateway]:
    with nginx(gateways.ports, tmp_path / "nginx") as port:
        yield gateway.on_port(port)


@contextmanager
def nginx(ports: Sequence[int], folder: Path) -> Iterator[int]:
    folder.mkdir()
    port, config = free_port(), folder / "nginx.conf"
    servers = "".join(f"server 127.0.0.1:{upstream} max_fails=0; " for upstream in ports)
    config.write_text(CONFIG.format(folder=folder, port=port, servers=servers))
    child = child_processes.start(
        "nginx", ["nginx", "-c", str(config), "-e", f"{folder}/start.log"], log=folder / "nginx.log"
    )
    try:
        child_processes.wait_until(child, (folder / "nginx.pid").exists, "ready", 20)
        yield port
    finally:
        child.stop()


def upstreams(replies: Sequence[Reply]) -> Counter[str]:
    return Counter(reply.header("x-upstream") or "" for reply in replies)


@dataclass
class Clients:
    """Persistent connections that send requests until `stopped`, and do not repeat a request."""

    key: Key
    replies: list[Reply] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stopped: bool = False

    def requests(self) -> Iterator[bytes]:
        body = json.dumps({"token": self.key.token}).encode()
        credential = f"{self.key.header}\r\n\r\n"
        post = (
            f"POST /v1/keys/verify HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: "
            f"{len(body)}\r\n\r\n"
        ).encode() + body
        header = f"GET /v1/keys/verify HTTP/1.1\r\nHost: gateway.test\r\n{credential}".encode()
        core = (
            f"POST /cores/restarted/file HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: "
            f"0\r\n{credential}"
        ).encode()
        return itertools.cycle((post, header, post, core))

    @asynccontextmanager
    async def running(self, ports: Sequence[int], number: int) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._client([*ports[start:], *ports[:start]]))
            for start in range(number)
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
            if (
                not reply.whole
                or reply.status != 200
                or (reply.body.startswith(b"{") and not reply.json["valid"])
            ):
                self.failures.append(f"{reply.status} {reply.body!r}")
            if reply.header("connection") == "close":
                return
            await asyncio.sleep(PAUSE_S)

    async def more(self, number: int) -> None:
        enough = len(self.replies) + number
        await until(lambda: len(self.replies) >= enough or self.failures)


@pytest.mark.requirement("TR-15")
async def test_rolling_restart_fails_no_request(
    gateway: Gateway, gateways: Gateways, balanced: Gateway, core: Core
) -> None:
    await gateway.register(core.url, name="restarted", ttl_s=300)
    unlimited = [limit(10**9, 1)]
    key = await gateway.create_key(limits=unlimited)
    through_nginx, direct = Clients(key), Clients(key)
    for port in gateways.ports:  # every gateway has received the registration of the Core
        async with asyncio.timeout(30):
            while (
                await gateway.on_port(port).request("GET", "/cores/restarted/a", key.header)
            ).status != 200:
                pass
    statuses = []
    async with through_nginx.running([balanced.port], 4), direct.running(gateways.ports, GATEWAYS):
        for number in range(GATEWAYS):
            statuses.append(await gateways.restart(number))
            await through_nginx.more(60)
            await direct.more(30)
    assert statuses == [0] * GATEWAYS
    assert through_nginx.failures == []
    assert direct.failures == []
    # The direct clients connected to other gateways because responses contained Connection: close.
    assert sum(reply.header("connection") == "close" for reply in direct.replies) >= GATEWAYS
    assert len(upstreams(through_nginx.replies[-60:])) == GATEWAYS
