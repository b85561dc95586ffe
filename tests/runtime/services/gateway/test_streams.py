"""HTTP/2, gRPC, WebSockets, and other requests that end when their key no longer permits them."""

import asyncio
import dataclasses
import os
import secrets
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import httpx
import pytest
from gatehouse.features.keys import repository
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login
from gatehouse.platform.envoy.bootstrap import IN_PROGRESS
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request
from websockets.typing import Subprotocol

from sandbox.local import servers
from tests.runtime.rows import customer_row, plan_row
from tests.runtime.server_processes import postgres_pid
from tests.runtime.services.gateway.conftest import (
    SERVE,
    Core,
    Gateway,
    Key,
    Reply,
    Start,
    applied,
    running_gateway,
    serving,
)
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits
from tests.runtime.services.gateway.test_process import worker_processes
from tests.runtime.waiting import PAUSE_S, until

PATIENCE_S = 60
HEALTH_CHECK = Path(__file__).parents[4] / "runtime/healthcheck.sh"
HANDSHAKE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
EVENTS = "Accept: text/event-stream"


@dataclass
class SocketCore:
    """Sends each message back."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.requests.append(connection.request)
        self.connections.append(connection)
        with suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)


def choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[-1] if offered else None


@pytest.fixture
async def sockets() -> AsyncIterator[SocketCore]:
    core = SocketCore()
    options: Any = {"select_subprotocol": choose, "max_size": 2**25}
    async with serve(core.handle, "127.0.0.1", 0, ping_interval=None, **options) as server:
        core.port = server.sockets[0].getsockname()[1]
        yield core
        for connection in core.connections:
            connection.transport.abort()


@pytest.fixture
async def key(gateway: Gateway, sockets: SocketCore) -> AsyncIterator[Key]:
    async with gateway.core(sockets.url, "live") as key:
        yield key


@asynccontextmanager
async def opened(
    gateway: Gateway, key: Key, path: str = "live/echo", **options: Any
) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {key.token}", **options.pop("additional_headers", {})}
    url = f"ws://127.0.0.1:{gateway.port}/cores/{path}"
    timeouts: Any = {"open_timeout": PATIENCE_S, "close_timeout": PATIENCE_S}
    options = {"ping_interval": None, "max_size": 2**25, **timeouts, **options}
    client = await connect(url, additional_headers=headers, proxy=None, **options)
    try:
        yield client
    finally:
        client.transport.abort()


async def echoes(client: ClientConnection, message: str | bytes = "open") -> bool:
    await client.send(message)
    async with asyncio.timeout(PATIENCE_S):
        return bool(await client.recv() == message)


async def closed(client: ClientConnection) -> int | None:
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionClosed):
            async for _ in client:
                pass
        await client.wait_closed()
    return client.close_code


async def until_equal(value: Callable[[], Awaitable[float]], expected: float) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await value() != expected:
            await asyncio.sleep(PAUSE_S)


def request(path: str, key: Key, *headers: str, method: str = "GET") -> bytes:
    lines = (f"{method} /cores/{path} HTTP/1.1", "Host: gateway.test", key.header, *headers)
    return "\r\n".join((*lines, "", "")).encode()


async def attempt(gateway: Gateway, key: Key, *headers: str, path: str = "live/echo") -> Reply:
    return await gateway.send(request(path, key, *(headers or HANDSHAKE)))


@asynccontextmanager
async def endless(gateway: Gateway, key: Key, name: str, *headers: str) -> AsyncIterator[Any]:
    """The reader of a response that does not end by itself."""
    async with gateway.connection(request(f"{name}/endless", key, *headers)) as (reader, _):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(b"first")
        yield reader


async def ended(reader: asyncio.StreamReader) -> bool:
    """True if the response is not complete."""
    with suppress(ConnectionError):
        return not (await reader.read()).endswith(b"0\r\n\r\n")
    return True


# Handshake


async def test_messages_flow_in_both_directions(
    gateway: Gateway, sockets: SocketCore, key: Key
) -> None:
    async with opened(gateway, key, "live/echo?room=7") as client:
        for message in ("text", "ü€", b"\x00\xff", "", bytes(3_000_000)):
            assert await echoes(client, message)
        await client.close(4321, "done")
    (connection,) = sockets.connections
    await connection.wait_closed()
    assert (connection.close_code, connection.close_reason) == (4321, "done")
    assert sockets.requests[0].path == "/echo?room=7"


async def test_handshake_follows_the_rules_of_requests(
    gateway: Gateway, sockets: SocketCore, key: Key
) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "Gatehouse-Key-Id": "forged", "X-Kept": "yes"}
    protocols = [Subprotocol("chat.v1"), Subprotocol("chat.v2")]
    async with opened(gateway, key, additional_headers=forged, subprotocols=protocols) as client:
        assert client.subprotocol == "chat.v2"
        assert client.response is not None
        returned = str(client.response.headers).lower()
        assert ["\nx-request-id: req_" in returned, "\nratelimit: " in returned] == [True, True]
    fields = {name.lower(): value for name, value in sockets.requests[0].headers.raw_items()}
    expected = {"gatehouse-key-id": key.id, "x-forwarded-for": "127.0.0.1", "x-kept": "yes"}
    assert fields.items() >= {**expected, "host": f"127.0.0.1:{sockets.port}"}.items()
    assert [text in returned + str(fields) for text in (key.token, "x-gh-")] == [False, False]


@pytest.mark.parametrize(
    ("replaced", "field", "outcome"),
    [
        (2, "Sec-WebSocket-Version: 8", (426, "upgrade_required")),
        (3, "X-None: 1", (400, "bad_request")),
        (3, "Sec-WebSocket-Key: c2hvcnQ=", (400, "bad_request")),
    ],
)
async def test_malformed_handshake_is_rejected(
    gateway: Gateway, sockets: SocketCore, key: Key, replaced: int, field: str, outcome: Any
) -> None:
    reply = await attempt(gateway, key, *HANDSHAKE[:replaced], field, *HANDSHAKE[replaced + 1 :])
    assert (reply.outcome, sockets.requests) == (outcome, [])
    assert (reply.header("sec-websocket-version") == "13") is (reply.status == 426)


# Revocation

CHANGES = {
    "revoked": "state = 'revoked', revoked_at = now()",
    "disabled": "state = 'disabled'",
    "expired": "expires_at = now() + interval '1 second'",
    "networks": "addresses = '{192.0.2.0/24}'",
    "scopes": "scopes = '{}'",
    "cores": "cores = '{other}'",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_streams_end_when_the_key_no_longer_permits_them(
    gateway: Gateway, sockets: SocketCore, core: Core, key: Key, change: str
) -> None:
    other = await gateway.create_key()
    async with (
        gateway.core(core.url, "events"),
        gateway.core(core.url, "files", end_on_revocation="all"),
        gateway.core(sockets.url, "chatty", end_on_revocation="none"),
        opened(gateway, key) as client,
        opened(gateway, key, "chatty/") as chatty,
        opened(gateway, other) as of_other_key,
        endless(gateway, key, "events", EVENTS) as events,
        endless(gateway, key, "files") as file,
        endless(gateway, key, "events") as response,
        endless(gateway, other, "files") as other_file,
    ):
        seq = await gateway.pool.fetchval(
            f"UPDATE api_key SET {CHANGES[change]} WHERE id = $1 RETURNING change_seq",  # noqa: S608
            key.id,
        )
        assert await closed(client) == 1008
        assert await ended(events)
        assert await ended(file)
        await applied(gateway.pool, seq)
        assert (await attempt(gateway, key)).status in (401, 403)
        assert await echoes(of_other_key)
        assert await echoes(chatty)
        assert [reader.at_eof() for reader in (response, other_file)] == [False, False]


#: Changes of the row of the customer, or of the plan, from which a key inherits.
TERMS = {
    "customer disabled": "UPDATE customer SET state = 'disabled' WHERE id = $1",
    "customer deleted": (
        "UPDATE customer SET state = 'deleted', state_before = 'active', deleted_at = now() "
        "WHERE id = $1"
    ),
    "scopes of the plan": "UPDATE plan SET scopes = '{other}' WHERE name = $1",
}


@pytest.mark.parametrize("change", TERMS)
async def test_streams_end_when_customer_or_plan_no_longer_permits_them(
    gateway: Gateway, sockets: SocketCore, core: Core, key: Key, change: str
) -> None:
    name, pool = f"c{uuid.uuid4().hex}", gateway.pool
    await pool.execute(plan_row(name=f"'{name}'", scopes="'{cores:read}'"))
    await pool.execute(customer_row(id=f"'{name}'", plan=f"'{name}'"))
    member = await gateway.create_key(customer_id=name, scopes=[], inherits=["scopes"])
    async with (
        gateway.core(core.url, "events"),
        opened(gateway, key) as of_other_key,
        endless(gateway, member, "events", EVENTS) as events,
        opened(gateway, member) as client,
    ):
        seq = await pool.fetchval(f"{TERMS[change]} RETURNING change_seq", name)
        assert await closed(client) == 1008
        assert await ended(events)
        await applied(pool, seq)
        assert await echoes(of_other_key)


async def test_stream_ends_when_its_key_expires_by_itself(
    gateway: Gateway, sockets: SocketCore, key: Key
) -> None:
    """Nothing changes the key after the stream was opened."""
    for seconds in (2, 8, 32):  # a busy machine opens the stream later
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        expiring = await gateway.create_key(expires_at=expires_at)
        with suppress(InvalidStatus):
            async with opened(gateway, expiring) as client, opened(gateway, key) as other:
                assert await closed(client) == 1008
                assert await echoes(other)
                return
    pytest.fail("no stream was opened before its key expired")


# HTTP/2 and gRPC


class Calls:
    """Echoes messages, with trailers."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.ended = asyncio.Event()

    async def unary_unary(self, message: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        if message == b"fail":
            context.set_trailing_metadata((("x-trailer", "of an error"),))
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ü")
        context.set_trailing_metadata((("x-trailer", "yes"),))
        return message

    async def stream_stream(self, messages: Any, context: Any) -> AsyncIterator[bytes]:
        try:
            async for message in messages:
                yield message
        finally:
            self.ended.set()


@asynccontextmanager
async def grpc_core(calls: Calls) -> AsyncIterator[str]:
    server = grpc.aio.server()
    handlers = {
        kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(calls, kind))
        for kind in ("unary_unary", "stream_stream")
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"http://127.0.0.1:{port}"
    await server.stop(None)


@asynccontextmanager
async def channel(gateway: Gateway, name: str = "calls") -> AsyncIterator[Any]:
    options = [("grpc.default_authority", f"{name}.cores.test")]
    address = f"127.0.0.1:{gateway.port}"
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


@pytest.mark.parametrize("end_on_revocation", ["streams", "all"])
async def test_grpc_calls_streams_errors_and_trailers(
    gateway: Gateway, end_on_revocation: str
) -> None:
    calls = Calls()
    settings: Any = {"http2": True, "end_on_revocation": end_on_revocation}
    async with (
        grpc_core(calls) as url,
        gateway.core(url, "calls", **settings) as key,
        channel(gateway) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        metadata = (("authorization", f"Bearer {key.token}"), ("x-kept", "yes"))
        call = client.unary_unary("/echo.Echo/unary_unary")(b"hello", metadata=metadata)
        assert await call == b"hello"
        assert dict(await call.trailing_metadata())["x-trailer"] == "yes"
        assert (calls.metadata["x-kept"], calls.metadata["gatehouse-key-id"]) == ("yes", key.id)
        assert key.token not in str(calls.metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.unary_unary("/echo.Echo/unary_unary")(b"fail", metadata=metadata)
        error = caught.value
        assert (error.code(), error.details()) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "not today: ü",
        )
        trailers: Any = error.trailing_metadata()
        assert dict(trailers)["x-trailer"] == "of an error"
        both = client.stream_stream("/echo.Echo/stream_stream")(metadata=metadata)
        for message in (b"one", bytes(1_000_000), b"three"):
            await both.write(message)
            assert await both.read() == message
        if end_on_revocation == "all":
            await gateway.revoke(key)
            with pytest.raises(grpc.aio.AioRpcError):
                await both.read()
            await calls.ended.wait()
        else:
            await both.done_writing()
            assert not await both.read()


async def test_grpc_clients_receive_denials_and_errors_of_the_gateway(gateway: Gateway) -> None:
    async with gateway.core("http://127.0.0.1:1", "calls", http2=True) as key:
        for token, code in (
            ("wrong", grpc.StatusCode.UNAUTHENTICATED),
            (key.token, grpc.StatusCode.UNAVAILABLE),
        ):
            async with channel(gateway) as client:
                metadata = (("x-api-key", token),)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await client.unary_unary("/echo.Echo/x")(b"", metadata=metadata, timeout=60)
            assert caught.value.code() is code


async def _knows_core(url: str, key: Key) -> None:
    """Another gateway learns of a Core from the change feed."""
    fields = {"X-API-Key": key.token}
    while True:
        async with httpx.AsyncClient(verify=False, timeout=60) as client:  # noqa: S501 - self-signed
            if (await client.get(url, headers=fields)).status_code == 200:
                return


async def test_clients_can_use_http_2(
    gateway: Gateway, core: Core, another: Callable[..., Gateway]
) -> None:
    url = f"https://127.0.0.1:{another(GATEHOUSE_TLS='self_signed').port}"
    options: Any = {"http2": True, "verify": False, "timeout": PATIENCE_S}
    async with (
        gateway.core(core.url, "docs") as key,
        httpx.AsyncClient(base_url=url, **options) as client,
    ):
        await _knows_core(f"{url}/cores/docs/x", key)
        verified = await client.post("/v1/keys/verify", json={"token": key.token})
        assert (verified.http_version, verified.json()["code"]) == ("HTTP/2", "VALID")
        fields = {"X-API-Key": key.token, "Cookie": "a=1; b=2"}
        posted = await client.post("/cores/docs/x", headers=fields, content=bytes(1_000_000))
        assert (posted.text, core.last[1]["cookie"]) == ("hello", "a=1; b=2")
        assert len(core.last[2]) == 1_000_000
        replies = await asyncio.gather(
            *(client.get(f"/cores/docs/{number}", headers=fields) for number in range(50))
        )
    assert {(reply.http_version, reply.text) for reply in replies} == {("HTTP/2", "hello")}
    port = url.rpartition(":")[2]
    for ports, tls, code in (
        ([port], "self_signed", 0),
        ([port], "off", 1),
        ([port, "1"], "self_signed", 1),
        (["1"], "off", 1),
    ):
        health = await asyncio.create_subprocess_exec(
            HEALTH_CHECK, *ports, env={**os.environ, "GATEHOUSE_TLS": tls}
        )
        assert await health.wait() == code, (ports, tls)


# End


@pytest.mark.parametrize("how", ["drained", "revoked", "replaced"])
async def test_websocket_ends_with_the_instance_of_the_core(
    gateway: Gateway, sockets: SocketCore, how: str
) -> None:
    agent, reply = await gateway.register(sockets.url, "live")
    async with opened(gateway, await gateway.create_key()) as client:
        end = f"/v1/cores/live?lease_id={reply.json['lease_id']}&drain_s="
        assert (await gateway.request("DELETE", f"{end}3600", agent.header)).status == 204
        assert await echoes(client)
        if how == "revoked":
            await gateway.pool.execute(repository._END_REGISTRATIONS, agent.id)
        elif how == "drained":
            assert (await gateway.request("DELETE", f"{end}0", agent.header)).status == 204
        else:  # by another key
            await gateway.pool.execute("UPDATE core SET expires_at = now() WHERE name = 'live'")
            await gateway.register("http://127.0.0.1:1", "live")
        assert await closed(client) == 1001
    await gateway.drain("live")


async def test_idle_websocket_is_closed(
    key: Key, sockets: SocketCore, another: Callable[..., Gateway]
) -> None:
    server = another(GATEHOUSE_LOAD_BALANCER_IDLE_TIMEOUT_S="2")
    async with (
        opened(server, key) as client,
        server.core(sockets.url, "brief", idle_timeout_s=1) as other,
        opened(server, other, "brief/") as brief,
    ):
        assert await closed(client) == 1001
        assert await closed(brief) == 1001
    async with asyncio.timeout(60):  # a worker shares its counts every second
        while await server.metric('gatehouse_expired_total{registry="streams"}') != 2:
            await asyncio.sleep(0.05)


async def test_websocket_closes_with_the_gateway(
    key: Key, sockets: SocketCore, another: Callable[..., Gateway]
) -> None:
    server = another()
    async with opened(server, key) as client:
        assert server.child is not None
        server.child.process.send_signal(signal.SIGTERM)
        assert await closed(client) == 1001
    assert await asyncio.to_thread(server.child.process.wait, 60) == 0
    assert (await server.lines_with(status=101))[0]["key_id"] == key.id


async def test_streams_end_when_the_key_state_is_outdated(
    gateway: Gateway, sockets: SocketCore, core: Core, start: Start, redis_url: str
) -> None:
    with servers.postgres() as server:
        await runner.migrate(login(server.owner_url, "url"))
        _, port, log = start(server.app_url, redis_url, GATEHOUSE_DATABASE_OUTAGE_MAX_S="0")
        async with asyncpg.create_pool(server.app_url, min_size=1, max_size=1) as pool:
            client = dataclasses.replace(gateway, port=port, pool=pool, log=log)
            await client.register(core.url, "events")
            await client.register(sockets.url, "live")
            key = await client.create_key()
            async with (
                opened(client, key) as websocket,
                endless(client, key, "events", EVENTS) as events,
            ):
                os.kill(postgres_pid(server), signal.SIGQUIT)
                assert await closed(websocket) == 1011
                assert await ended(events)


async def test_open_streams_are_bounded(key: Key, another: Callable[..., Gateway]) -> None:
    server = another(GATEHOUSE_STREAMS_MAX="2")
    async with opened(server, key), opened(server, key) as client:
        reply = await attempt(server, key)
        assert (*reply.outcome, reply.header("retry-after")) == (503, "unavailable", "1")
        assert reply.header("x-request-id") == reply.json["request_id"]
        assert await echoes(client)
        assert await server.metric("gatehouse_streams") == 2
    await until_equal(lambda: server.metric("gatehouse_streams"), 0)
    async with opened(server, key) as client:
        assert await echoes(client)


async def test_key_that_is_revoked_before_the_response(gateway: Gateway, core: Core) -> None:
    """The Core may have received the request, so that the credits are used."""
    async with gateway.core(core.url, "docs", end_on_revocation="all"):
        key = await key_with_credits(gateway, 10)
        pending = asyncio.create_task(gateway.get("/cores/docs/silent", key.header))
        await until(lambda: core.requests)
        await gateway.revoke(key)
        assert (await pending).outcome == (401, "unauthorized")
        await core.disconnected.wait()
        await gateway.lines_with(key_id=key.id, status=401)
        assert await remaining_credits(gateway, key) == 9


@pytest.mark.parametrize("how", ["abort", "half-close"])
async def test_client_that_disconnects_ends_the_request_to_the_core(
    gateway: Gateway, core: Core, how: str
) -> None:
    async with gateway.core(core.url, "docs", end_on_revocation="all"):
        key = await key_with_credits(gateway, 10)
        async with gateway.connection(request("docs/silent", key)) as (_, writer):
            await until(lambda: core.requests)
            writer.transport.abort() if how == "abort" else writer.write_eof()
            await core.disconnected.wait()
        await gateway.lines_with(key_id=key.id)
        assert await remaining_credits(gateway, key) == 9


# Data

RawCore = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@asynccontextmanager
async def raw_core(gateway: Gateway, behavior: RawCore, **settings: Any) -> AsyncIterator[Key]:
    """A Core that reads the head of the request first."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await behavior(reader, writer)
        writer.close()

    async with (
        serving(handle) as port,
        gateway.core(f"http://127.0.0.1:{port}", "live", **settings) as key,
    ):
        yield key


@pytest.mark.parametrize("headers", [(), ("Content-Length: 0",)])
async def test_data_beside_the_handshake_is_not_lost(
    gateway: Gateway, headers: tuple[str, ...]
) -> None:
    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SWITCHING + b"hello")
        writer.write(await reader.readexactly(5))
        await reader.read()

    async with raw_core(gateway, behavior) as key:
        data = request("live/echo", key, *HANDSHAKE, *headers) + b"early"
        async with gateway.connection(data) as (reader, _):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await reader.readexactly(10) == b"helloearly"


@pytest.mark.parametrize("accept", ["Accept: */*", EVENTS])
async def test_core_that_switches_protocols_without_a_handshake_is_malformed(
    gateway: Gateway, accept: str
) -> None:
    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SWITCHING + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with raw_core(gateway, behavior) as key:
        reply = await attempt(gateway, key, accept)
    assert (reply.status, reply.body) == (502, b"")


async def test_large_bodies_pass_in_both_directions(gateway: Gateway) -> None:
    size = 20_000_000

    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        remaining = size
        while remaining:
            data = await reader.read(min(remaining, 65_536))
            remaining -= len(data)
            writer.write(data)
            await writer.drain()

    body = secrets.token_bytes(1_000_000) * (size // 1_000_000)
    async with raw_core(gateway, behavior, end_on_revocation="all") as key:
        reply = await gateway.request("POST", "/cores/live/x", key.header, body=body)
    assert (reply.status, reply.body == body) == (200, True)


def _buffer_bytes_max(name: str) -> int:
    file = Path("/proc/sys/net/ipv4", name)
    return int(file.read_text().split()[-1]) if file.exists() else 10_000_000


@pytest.mark.parametrize("sender", ["client", "core"])
async def test_sender_waits_while_the_receiver_does_not_read(gateway: Gateway, sender: str) -> None:
    reads, stopped, sent = asyncio.Semaphore(0), asyncio.Event(), 0
    # Each hop has a buffer of the kernel, which grows under load.
    size = 3 * sum(map(_buffer_bytes_max, ("tcp_rmem", "tcp_wmem")))

    async def send(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(100_000))
                await writer.drain()
                sent += 100_000
        stopped.set()

    async def receive(reader: asyncio.StreamReader) -> None:
        while True:
            await reads.acquire()
            await reader.readexactly(size)

    async def sender_waits() -> None:
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)

    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SWITCHING)
        await (send(writer) if sender == "core" else receive(reader))

    async with raw_core(gateway, behavior) as key:
        async with gateway.connection(request("live/x", key, *HANDSHAKE)) as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            work = receive(reader) if sender == "core" else send(writer)
            running = asyncio.create_task(work)
            await sender_waits()
            assert sent < size
            reads.release()
            await until(lambda: sent >= size)
            await sender_waits()
            assert sent < 2 * size
            await gateway.revoke(key)
            await stopped.wait()
            running.cancel()
        await until_equal(lambda: gateway.metric("gatehouse_streams"), 0)


# Completion


async def test_websocket_is_logged_and_counted_once(gateway: Gateway, key: Key) -> None:
    counter = 'gatehouse_websocket_bytes_total{sender="core"}'
    await until_equal(lambda: gateway.metric("gatehouse_streams"), 0)  # of other tests
    before = await gateway.metric(counter)
    async with opened(gateway, key) as client:
        assert await echoes(client, "hello")
        assert client.response is not None
        request_id = client.response.headers["X-Request-Id"]
        assert not [line for line in gateway.lines() if line.get("request_id") == request_id]
        await client.close()
    (line,) = await gateway.lines_with(request_id=request_id)
    assert (line["status"], line["route"], line["code"], line["key_id"]) == (
        101,
        "/cores/{name}/{path}",
        "VALID",
        key.id,
    )
    # A masked frame has a header of 6 bytes, and any other frame a header of 2 bytes.
    use = {"bytes_from_client": 6 + 5 + 6 + 2, "bytes_from_core": 2 + 5 + 2 + 2}
    assert (line["websocket"], await gateway.metric(counter)) == (use, before + 11)
    assert key.token not in gateway.log.read_text()


async def test_relayed_request_to_a_core_that_is_down_is_like_others(
    another: Callable[..., Gateway],
) -> None:
    server = another(GATEHOUSE_KEY_REQUESTS_MAX="1")
    async with server.core("http://127.0.0.1:1", "docs"):
        key, documents = await key_with_credits(server, 10), []
        for headers in (("Accept: */*",), (EVENTS,), HANDSHAKE):
            reply = await attempt(server, key, *headers, path="docs/x")
            assert reply.status == 502
            (line,) = await server.lines_with(request_id=reply.header("x-request-id"))
            assert (line["status"], line["detail"].split()[0]) == (502, "core_unreachable")
            names = {name for name, _ in reply.headers} - {"connection"}
            documents.append((names, {**reply.json, "request_id": ""}))
        assert documents[1:] == documents[:1] * 2
        await until_equal(lambda: remaining_credits(server, key), 10)


#: A request whose lines are lost ends after five seconds. The workers are forks, so the template is
#: rendered again.
LOST_LINES = f"""from gatehouse.platform.envoy import bootstrap
from gatehouse.services.gateway import completions
bootstrap.ALIVE_S, completions.LOST_S = 0.1, 5.0
bootstrap.template.cache_clear()
{SERVE}"""
EXPIRED = 'gatehouse_expired_total{registry="requests in progress"}'


async def test_requests_with_lost_lines_do_not_count_for_ever(
    gateway: Gateway,
    core: Core,
    sockets: SocketCore,
    database: Any,
    redis_url: str,
    socket_folder: Path,
) -> None:
    settings = {"TMPDIR": str(socket_folder), "GATEHOUSE_KEY_REQUESTS_MAX": "4"}
    with running_gateway(database, redis_url, socket_folder, LOST_LINES, **settings) as started:
        port, pid, log, _ = started
        server = dataclasses.replace(gateway, port=port, log=log)
        await server.register(sockets.url, "live")
        await server.register(core.url, "lost")
        key = await server.create_key()
        (worker,) = worker_processes(pid)
        (path,) = socket_folder.glob("gatehouse-*/completions-0")
        async with asyncio.timeout(PATIENCE_S):
            while (await server.get("/cores/lost/x", key.header)).status != 200:
                await asyncio.sleep(PAUSE_S)  # the threads of Envoy learn of the Core
        await until_equal(lambda: server.metric("gatehouse_requests_in_progress"), 0)
        core.requests.clear()
        silent = request("lost/silent", key)
        async with (
            opened(server, key) as client,
            server.connection(request("lost/slow", key)) as (reader, _),
        ):
            assert await echoes(client)
            assert (await reader.readuntil(b"first")).startswith(b"HTTP/1.1 200 ")
            async with server.connection(silent), server.connection(silent):
                await until(lambda: len(core.requests) == 3)
                worker.suspend()
            await asyncio.to_thread(lose_lines, path, 2)
            worker.resume()
            await until_equal(lambda: server.metric("gatehouse_requests_in_progress"), 4)
            assert (await server.get("/cores/lost/x", key.header)).status == 429
            await until_equal(lambda: server.metric("gatehouse_requests_in_progress"), 2)
            assert (await server.get("/cores/lost/x", key.header)).status == 200
            assert await server.metric(EXPIRED) == 2
            lost = list[dict[str, Any]]()
            async with asyncio.timeout(PATIENCE_S):
                while len(lost) < 2:
                    lost = await server.lines_with(path="/cores/lost/silent")
            assert [(line["status"], line["key_id"]) for line in lost] == [(499, key.id)] * 2
            # The older requests, which are alive, have not ended.
            assert await echoes(client)
            core.resume.set()
            await reader.readuntil(b"second")
        await until_equal(lambda: server.metric("gatehouse_requests_in_progress"), 0)
        assert await server.metric(EXPIRED) == 2


def lose_lines(pipe: Path, number: int) -> None:
    """Reads the lines of ended requests from the pipe, and writes the others to it again."""
    lost, others = 0, list[bytes]()
    with pipe.open("r+b", buffering=0) as stream:
        while lost < number:
            for line in stream.read(65_536).splitlines(keepends=True):
                if line.startswith(b"request ") and IN_PROGRESS.encode() not in line:
                    lost += 1
                else:
                    others.append(line)
        stream.write(b"".join(others))
