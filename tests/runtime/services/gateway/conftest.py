"""A gateway process, a recording Core, and a raw client."""

import asyncio
import base64
import json
import os
import secrets
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import pytest
from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.clock import Clock
from gatehouse.core.keys import KeyEnvironment, RateLimit
from gatehouse.core.tokens.token import Pepper, build
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.keys.service import KeyService
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.settings import Settings

from sandbox import child_processes
from sandbox.ports import free_port
from tests.runtime.platform.tracing.collector import Collector, running_collector
from tests.runtime.rows import customer_row, key_row
from tests.runtime.services.gateway import fork_server
from tests.runtime.waiting import PAUSE_S

PEPPER = bytes(range(32))
OPERATOR = Actor(
    type="bootstrap", id="bootstrap", request_id=RequestId("req_test"), source_address="192.0.2.1"
)
#: Starts a gateway whose workers are forks of this process, which a script before it can change.
SERVE = fork_server.script("gateway")


Start = Callable[..., tuple[child_processes.Child, int, Path]]


def limit(quota: int, window_s: int = 3600) -> dict[str, Any]:
    return {"name": "requests", "quota": quota, "window_s": window_s, "burst": quota}


def header_fields(lines: Iterable[str]) -> list[tuple[str, str]]:
    fields = (line.partition(":") for line in lines)
    return [(name.lower(), value.strip()) for name, _, value in fields]


def key_service(pool: Pool, confirmation_timeout_s: float = 30.0) -> KeyService:
    return KeyService(
        KeyRepository(pool, staleness_s=3.0),
        Clock(),
        Pepper({1: PEPPER}, 1),
        "gtk",
        confirmation_timeout_s,
        KeyEnvironment.TEST,
        RateLimit("requests", 600, 60, 600),
    )


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool = True

    def header(self, name: str) -> str | None:
        return next((value for field_name, value in self.headers if field_name == name), None)

    def all(self, name: str) -> list[str]:
        return [value for field_name, value in self.headers if field_name == name]

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def outcome(self) -> tuple[int, str]:
        return self.status, self.json["code"]


@dataclass
class Key:
    id: str
    token: str

    @property
    def header(self) -> str:
        return f"X-API-Key: {self.token}"

    @property
    def bearer(self) -> str:
        return f"Authorization: Bearer {self.token}"


@dataclass
class Gateway:
    port: int
    pid: int
    pool: asyncpg.Pool
    log: Path
    pepper: Pepper = field(default_factory=lambda: Pepper({1: PEPPER}, 1))
    #: The process of a gateway that the fixture `another` has started.
    child: child_processes.Child | None = None

    async def request(
        self,
        method: str,
        target: str,
        *headers: str,
        body: bytes | None = None,
        host: str | None = "gateway.test",
    ) -> Reply:
        lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return await self.send(
            "\r\n".join((*lines, "Connection: close", "", "")).encode("utf-8", "surrogateescape")
            + (body or b"")
        )

    @asynccontextmanager
    async def connection(
        self, data: bytes = b""
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        async with asyncio.timeout(60):
            yield reader, writer
        writer.close()

    async def send(self, raw: bytes) -> Reply:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(raw)
            return await read_reply(reader, head=raw.startswith(b"HEAD "))
        finally:
            writer.close()

    async def verify(self, token: str, **members: Any) -> Reply:
        return await self.post("/v1/keys/verify", {"token": token, **members})

    async def code(self, token: str, **members: Any) -> str:
        return str((await self.verify(token, **members)).json["code"])

    async def get(self, target: str, *headers: str, host: str | None = "gateway.test") -> Reply:
        return await self.request("GET", target, *headers, host=host)

    async def forward(
        self, key: Key, path: str = "x", method: str = "GET", body: bytes | None = None
    ) -> Reply:
        return await self.request(method, f"/cores/docs/{path}", key.header, body=body)

    async def create_key(self, **columns: Any) -> Key:
        environment = KeyEnvironment(columns.pop("environment", "test"))
        random = secrets.token_bytes(9), secrets.token_bytes(32)
        token = build("gtk", environment, *random, pepper=self.pepper, generation=1)
        assert token is not None
        limits = columns.pop("limits", [limit(1000, 1)])
        values = {
            "id": token.id,
            "digest": self.pepper.digest(token.text, 1),
            "id_generation": 1,
            "environment": environment.value,
            "name": "reader",
            "customer_id": None if columns.get("plan") else "team-a",
            "scopes": ["cores:read"],
            "limits": json.dumps(limits),
            **columns,
        }
        if values["customer_id"]:
            unless_exists = customer_row("ON CONFLICT DO NOTHING", name="$1")
            await self.pool.execute(unless_exists, values["customer_id"])
        placeholders = {name: f"${number + 1}" for number, name in enumerate(values)}
        await self.pool.execute(key_row(**placeholders), *values.values())
        return Key(token.id, token.text)

    def on_port(self, port: int) -> "Gateway":
        return replace(self, port=port)

    async def post(self, path: str, document: Any) -> Reply:
        return await self.request("POST", path, body=json.dumps(document).encode())

    async def metric(self, name: str) -> float:
        page = (await self.request("GET", "/metrics")).body.decode()
        return sum(
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.startswith(f"{name} ")
        )

    async def revoke(self, key: Key) -> None:
        seq = await self.pool.fetchval(
            "UPDATE api_key SET state = 'revoked', revoked_at = now() WHERE id = $1 RETURNING "
            "change_seq",
            key.id,
        )
        await applied(self.pool, seq)

    async def register(
        self, url: str, name: str = "docs", status: int = 200, **members: Any
    ) -> tuple[Key, Reply]:
        """status: of the reply. A name that another test uses is not taken for this Core."""
        agent = await self.create_key(scopes=["cores:register"])
        reply = await self.put_core(agent, name, {"url": url, **members})
        assert reply.status == status, reply.body
        return agent, reply

    @asynccontextmanager
    async def core(self, url: str, name: str = "docs", **settings: Any) -> AsyncIterator[Key]:
        await self.register(url, name, settings=settings)
        try:
            yield await self.create_key()
        finally:
            await self.drain(name)

    async def drain(self, name: str) -> None:
        await self.pool.execute("UPDATE core SET draining = true WHERE name = $1", name)

    async def put_core(self, key: Key, name: str, members: dict[str, Any]) -> Reply:
        body = json.dumps(members).encode()
        return await self.request("PUT", f"/v1/cores/{name}", key.bearer, body=body)

    def lines(self) -> list[dict[str, Any]]:
        return log_lines(self.log)

    async def lines_with(self, **members: Any) -> list[dict[str, Any]]:
        async with asyncio.timeout(60):
            while True:
                result = [line for line in self.lines() if members.items() <= line.items()]
                if result:
                    return result
                await asyncio.sleep(PAUSE_S)


def log_lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().split("\n")[:-1] if line.startswith("{")]


async def applied(pool: Any, change_seq: int) -> None:
    """Waits until every live worker has applied the change. Rows of killed workers are ignored."""
    repository = KeyRepository(
        pool, staleness_s=Settings.model_fields["max_staleness_ms"].default / 1000
    )
    assert await repository.effective(change_seq, timeout_s=30) == "everywhere"


async def read_reply(reader: asyncio.StreamReader, *, head: bool = False) -> Reply:
    async with asyncio.timeout(60):
        start = await reader.readuntil(b"\r\n\r\n")
        first, *lines = start.decode("latin-1").split("\r\n")[:-2]
        headers = header_fields(lines)
        status = int(first.split(" ")[1])
        length = next((int(value) for name, value in headers if name == "content-length"), None)
        if head or status in (204, 304):
            return Reply(status, headers, await reader.read())
        try:
            if length is not None:
                return Reply(status, headers, await reader.readexactly(length))
            if ("transfer-encoding", "chunked") in headers:
                return Reply(status, headers, await _chunks(reader))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return Reply(status, headers, b"", whole=False)
        return Reply(status, headers, await reader.read())


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return body


@dataclass
class Core:
    port: int = 0
    requests: list[tuple[str, list[tuple[str, str]], bytes]] = field(default_factory=list)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> tuple[str, dict[str, str], bytes]:
        line, headers, body = self.requests[-1]
        return line, dict(headers), body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                start = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = start.split("\r\n")[:-2]
                headers = header_fields(rest)
                named = dict(headers)
                if named.get("transfer-encoding") == "chunked":
                    body = await _chunks(reader)
                    await reader.readexactly(2)
                else:
                    body = await reader.readexactly(int(named.get("content-length", "0")))
                self.requests.append((line, headers, body))
                await self._respond(
                    line.split(" ")[1].split("?")[0], line.startswith("HEAD"), writer, reader
                )
        except (asyncio.IncompleteReadError, ConnectionResetError):
            self.disconnected.set()
        finally:
            writer.close()

    async def _respond(
        self, path: str, head: bool, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        kind = path.split("/")[1]
        if kind == "drop":
            writer.transport.abort()
        elif kind == "silent":
            await reader.read(1)  # returns when the gateway closes the connection
            raise ConnectionResetError
        elif kind in {"slow", "endless"}:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await writer.drain()
            if kind == "endless":
                await reader.read(1)  # returns when the gateway closes the connection
                raise ConnectionResetError
            await self.resume.wait()
            writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        elif kind == "odd":
            writer.write(
                b"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere.example/\r\nSet-Cookie: "
                b"a=1\r\nSet-Cookie: b=2\r\n"
                b"Content-Encoding: gzip\r\nX-Hop: 1\r\nConnection: x-hop\r\nX-Bad: "
                b"caf\xe9\r\nX-Good: yes\r\n"
                b"Service-Worker-Allowed: /\r\n"
                b'RateLimit: "core";r=1\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00'
            )
        elif kind == "status":
            status = path.split("/")[2]
            body = b"" if status in ("204", "304") else b"core says " + status.encode()
            length = b"" if status == "204" else f"Content-Length: {len(body)}\r\n".encode()
            writer.write(f"HTTP/1.1 {status} Status\r\n".encode() + length + b"\r\n" + body)
        else:
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
                + (b"" if head else b"hello")
            )
        await writer.drain()


@asynccontextmanager
async def serving(handle: Any) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


#: Bytes of the response of `large_core`.
LARGE = 50_000_000


async def _respond_large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            while b" /silent " in head and await reader.read(9):
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            writer.write(bytes(LARGE))
            await writer.drain()


@asynccontextmanager
async def large_core(gateway: Gateway, **settings: Any) -> AsyncIterator[Key]:
    """A Core that has one second to respond, and responds with LARGE bytes, or not at all to
    requests for /silent.
    """
    async with (
        serving(_respond_large) as port,
        gateway.core(f"http://127.0.0.1:{port}", response_timeout_s=1, **settings) as key,
    ):
        yield key


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A temporary folder for the sockets of a gateway, whose paths must be short. That of pytest
    contains the names of the user and of the test.
    """
    with TemporaryDirectory(prefix="gh-") as folder:
        yield Path(folder)


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    recorder = Core()
    async with serving(recorder.serve) as recorder.port:
        yield recorder


@pytest.fixture
async def docs(gateway: Gateway, core: Core) -> AsyncIterator[Key]:
    agent, _ = await gateway.register(core.url)
    yield agent
    await gateway.drain("docs")


@pytest.fixture
async def agent(gateway: Gateway) -> AsyncIterator[Key]:
    """A key with scope cores:register. All names are free again after the test."""
    yield await gateway.create_key(scopes=["cores:register"])
    await gateway.pool.execute(
        "UPDATE core SET draining = true, expires_at = now() WHERE expires_at > now()"
    )
    await applied(gateway.pool, await gateway.pool.fetchval("SELECT seq FROM last_change"))


def gateway_environment(
    database_url: str, redis_url: str, port: int, **more: str
) -> dict[str, str]:
    pepper = {"current": 1, "generations": {"1": base64.b64encode(PEPPER).decode()}}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("GATEHOUSE_")},
        "GATEHOUSE_ENVIRONMENT": "dev",
        "GATEHOUSE_DATABASE_URL": database_url,
        "GATEHOUSE_DATABASE_AUTH": "url",
        "GATEHOUSE_REDIS_URL": redis_url,
        "GATEHOUSE_REDIS_AUTH": "url",
        "GATEHOUSE_LIMIT_TIMEOUT_MS": "5000",  # the maximum, for busy test machines
        "GATEHOUSE_PEPPER": json.dumps(pepper),
        "GATEHOUSE_CORE_NETWORKS": "127.0.0.0/8",
        "GATEHOUSE_BIND": "127.0.0.1",
        "GATEHOUSE_GATEWAY_PORT": str(port),
        "GATEHOUSE_GATEWAY_URL": "https://gateway.test",
        "GATEHOUSE_CORES_DOMAIN": "cores.test",
        **more,
    }


def start_gateway(
    environment: dict[str, str], log: Path, until: str = "/readyz", *, script: str = ""
) -> child_processes.Child:
    """Starts a gateway and waits until `until` returns 200."""
    script = script or SERVE
    if "GATEHOUSE_WORKERS" in environment:
        # The metrics of several workers are shared if the modules are imported by each.
        script = script.replace("'fork'", "'spawn'")
    child = fork_server.start(script, environment, log)
    scheme = "https" if "GATEHOUSE_TLS" in environment else "http"
    address = f"{environment['GATEHOUSE_BIND']}:{environment['GATEHOUSE_GATEWAY_PORT']}"
    url = f"{scheme}://{address}{until}"
    child_processes.wait_until(child, lambda: _is_ready(url), "ready", 60)
    return child


def _is_ready(url: str) -> bool:
    try:
        context = ssl._create_unverified_context()  # noqa: S323 - self-signed
        with urllib.request.urlopen(url, timeout=60, context=context):  # noqa: S310
            return True
    except OSError:  # no connection, no response in time, or a response other than 2xx
        return False


@contextmanager
def running_gateway(
    database: Any, redis_url: str, folder: Path, script: str = "", **more: str
) -> Iterator[tuple[int, int, Path, str]]:
    """A gateway that must stop after SIGTERM. Yields port, process ID, log and database URL."""
    port, log = free_port(), folder / "gateway.log"
    environment = gateway_environment(database.app_url, redis_url, port, **more)
    child = start_gateway(environment, log, script=script)
    yield port, child.pid, log, database.app_url
    status = child.stop(timeout_s=60)
    assert status == 0, f"the gateway did not stop after SIGTERM: status {status}"


def trace_settings(collector: Collector) -> dict[str, str]:
    return {
        "GATEHOUSE_TRACES_ENDPOINT": collector.endpoint,
        "GATEHOUSE_TRACES_SAMPLE_PERCENT": "100",
    }


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def gateway_process(
    request: Any, database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, int, Path, str]]:
    """The gateway of a module with GATEWAY_SETTINGS, or with IS_TRACED: it traces each request and
    exports spans at once.
    """
    folder, script = tmp_path_factory.mktemp("gateway"), ""
    settings = getattr(request.module, "GATEWAY_SETTINGS", {})
    if hasattr(request.module, "IS_TRACED"):
        settings = trace_settings(request.getfixturevalue("collector"))
        script = "from gatehouse.platform.tracing import export; export.EXPORT_INTERVAL_S = .01; "
        script += SERVE
    with running_gateway(database, redis_url, folder, script, **settings) as process:
        yield process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts more gateways: `start(database_url, redis_url, NAME=value)` returns process, port and
    log.
    """
    started: list[child_processes.Child] = []

    def begin(
        database_url: str, redis_url: str, until: str = "/readyz", **more: str
    ) -> tuple[child_processes.Child, int, Path]:
        port, log = free_port(), tmp_path / f"gateway-{len(started)}.log"
        started.append(
            start_gateway(gateway_environment(database_url, redis_url, port, **more), log, until)
        )
        return started[-1], port, log

    yield begin
    for child in started:
        child.stop()


@pytest.fixture
def another(
    gateway: Gateway, start: Start, database: Any, redis_url: str
) -> Callable[..., Gateway]:
    """Starts another gateway on the same database and Redis: `another(NAME=value)`."""

    def begin(**more: str) -> Gateway:
        child, port, log = start(database.app_url, more.pop("redis_url", redis_url), **more)
        return replace(gateway, port=port, pid=child.pid, log=log, child=child)

    return begin


@pytest.fixture
def failed_start(database: Any, redis_url: str, tmp_path: Path) -> Callable[..., tuple[int, str]]:

    def run(**more: str) -> tuple[int, str]:
        environment = {**gateway_environment(database.app_url, redis_url, free_port()), **more}
        child = fork_server.start(SERVE, environment, tmp_path / "gateway.log")
        try:
            status = child.process.wait(60)
        finally:
            child.stop()
        return status, (tmp_path / "gateway.log").read_text()

    return run


@pytest.fixture(scope="module")
async def module_gateway(gateway_process: tuple[int, int, Path, str]) -> AsyncIterator[Gateway]:
    port, pid, log, database_url = gateway_process
    async with asyncpg.create_pool(database_url, min_size=1, max_size=4) as pool:
        yield Gateway(port, pid, pool, log)


@pytest.fixture
def gateway(module_gateway: Gateway) -> Gateway:
    return module_gateway
