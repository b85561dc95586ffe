"""WebSockets, with the library `websockets` and raw sockets."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from gatehouse.features.keys import repository
from gatehouse.platform.http.websocket import accept_value
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from tests.runtime.services.gateway.conftest import Gateway, Reply, applied, limit, serving
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits
from tests.runtime.services.gateway.test_usage import until_written, written

PATIENCE_S = 60
MESSAGE_MAX = 1_048_576
SETTINGS = {"websocket_message_max_bytes": MESSAGE_MAX, "response_timeout_s": 1}
ROUTE = "/cores/{name}/{path}"


@dataclass
class SocketCore:
    """The path selects its behavior; `closed` receives the close code of each connection."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    closed: asyncio.Queue[int | None] = field(default_factory=asyncio.Queue)
    connections: list[ServerConnection] = field(default_factory=list)
    received: list[str | bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.requests.append(connection.request)
        self.connections.append(connection)
        if connection.request.path.startswith("/greet"):
            await connection.send("welcome")
        try:
            async for message in connection:
                self.received.append(message)
                if connection.request.path.startswith("/echo"):
                    await connection.send(message)
                elif connection.request.path.startswith("/large"):
                    await connection.send(bytes(int(message)))
        finally:
            await connection.wait_closed()
            self.closed.put_nowait(connection.close_code)

    async def close_code(self) -> int | None:
        async with asyncio.timeout(PATIENCE_S):
            return await self.closed.get()


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(409, "busy\n") if request.path == "/refused" else None


def choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[-1] if offered else None


@pytest.fixture
async def sockets() -> AsyncIterator[SocketCore]:
    core = SocketCore()
    async with serve(
        core.handle,
        "127.0.0.1",
        0,
        select_subprotocol=choose,
        process_request=refuse,
        max_size=2**25,
        ping_interval=None,
    ) as server:
        core.port = server.sockets[0].getsockname()[1]
        yield core
        for connection in core.connections:
            connection.transport.abort()


@pytest.fixture
async def key(gateway: Gateway, sockets: SocketCore) -> AsyncIterator[Any]:
    async with gateway.core(sockets.url, "live", **SETTINGS) as key:
        yield key


def opened(gateway: Gateway, key: Any, path: str = "/echo", **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {key.token}", **options.pop("additional_headers", {})}
    url = f"ws://127.0.0.1:{gateway.port}/cores/live{path}"
    options = {
        "ping_interval": None,
        "max_size": 2**25,
        "open_timeout": PATIENCE_S,
        "close_timeout": PATIENCE_S,
        **options,
    }
    return connect(url, additional_headers=headers, proxy=None, **options)


async def closed(connection: ClientConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionClosed):
            async for _ in connection:
                pass
        await connection.wait_closed()
    return connection.close_code, connection.close_reason


# Handshake


@pytest.mark.requirement("CG-04")
async def test_messages_flow_in_both_directions(
    gateway: Gateway, sockets: SocketCore, key: Any
) -> None:
    async with opened(gateway, key, "/echo?room=7") as client:
        for message in ("text", "ü€", b"\x00\xff", "", bytes(MESSAGE_MAX)):
            await client.send(message)
            assert await client.recv() == message
    assert await sockets.close_code() == 1000
    assert sockets.requests[0].path == "/echo?room=7"


async def test_handshake_follows_the_rules_of_requests(
    gateway: Gateway, sockets: SocketCore, key: Any
) -> None:
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "Gatehouse-Key-Id": "forged",
        "X-Kept": "yes",
        "Origin": "https://app.test",
    }
    protocols = [Subprotocol("chat.v1"), Subprotocol("chat.v2")]
    async with opened(gateway, key, additional_headers=forged, subprotocols=protocols) as client:
        response = client.response
        assert client.subprotocol == "chat.v2"
        assert response.headers["RateLimit-Policy"] == '"requests";q=1000;w=1'
        assert response.headers["X-Request-Id"].startswith("req_")
        assert "Sec-WebSocket-Extensions" not in response.headers
    headers = dict(sockets.requests[0].headers.raw_items())
    headers = {name.lower(): value for name, value in headers.items()}
    assert "sec-websocket-extensions" not in headers
    assert (headers["gatehouse-key-id"], headers["x-forwarded-for"], headers["x-kept"]) == (
        key.id,
        "127.0.0.1",
        "yes",
    )
    assert (headers["origin"], headers["host"]) == ("https://app.test", f"127.0.0.1:{sockets.port}")
    assert key.token not in str(headers)


HANDSHAKE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def handshake(key: Any, *headers: str) -> bytes:
    lines = ("GET /cores/live/echo HTTP/1.1", "Host: a", *HANDSHAKE, key.header, *headers)
    return "\r\n".join((*lines, "", "")).encode()


async def attempt(
    gateway: Gateway, *headers: str, method: str = "GET", version: str = "1.1"
) -> Reply:
    lines = (f"{method} /cores/live/echo HTTP/{version}", "Host: gateway.test", *headers, "", "")
    return await gateway.send("\r\n".join(lines).encode())


@pytest.mark.parametrize(
    ("index", "replacement", "status", "code"),
    [
        (0, "Connection: keep-alive", 400, "bad_request"),
        (2, "Sec-WebSocket-Version: 8", 426, "upgrade_required"),
        (3, "X-None: 1", 400, "bad_request"),
        (3, HANDSHAKE[3] + "\r\nTransfer-Encoding: chunked", 400, "bad_request"),
        (3, HANDSHAKE[3] + "\r\nContent-Length: 10", 400, "bad_request"),
    ],
)
async def test_malformed_handshake_is_rejected(
    gateway: Gateway,
    sockets: SocketCore,
    key: Any,
    index: int,
    replacement: str,
    status: int,
    code: str,
) -> None:
    headers = [*HANDSHAKE, key.header]
    headers[index] = replacement
    if index == 0:
        headers.append("Connection: close")
    reply = await attempt(gateway, *headers)
    assert reply.outcome == (status, code)
    assert sockets.requests == []
    if status == 426:
        assert (reply.header("sec-websocket-version"), reply.header("upgrade")) == (
            "13",
            "websocket",
        )


@pytest.mark.parametrize(("method", "version"), [("POST", "1.1"), ("GET", "1.0")])
async def test_handshake_is_a_get_request_with_http_1_1(
    gateway: Gateway, key: Any, method: str, version: str
) -> None:
    reply = await attempt(gateway, *HANDSHAKE, key.header, method=method, version=version)
    assert reply.outcome == (400, "bad_request")


async def test_handshake_is_authorized_like_any_request(
    gateway: Gateway, sockets: SocketCore, key: Any
) -> None:
    no_scope = await gateway.create_key(scopes=[])
    other_core = await gateway.create_key(cores=["docs"])
    limited = await gateway.create_key(limits=[limit(1)])
    async with opened(gateway, limited):
        pass
    expected = [
        (None, 401, "unauthorized"),
        ("gtk_test_wrong", 401, "NOT_FOUND"),
        (no_scope.token, 403, "INSUFFICIENT_PERMISSIONS"),
        (other_core.token, 403, "FORBIDDEN"),
        (limited.token, 429, "RATE_LIMITED"),
    ]
    for token, status, code in expected:
        reply = await attempt(gateway, *HANDSHAKE, *([f"X-API-Key: {token}"] if token else []))
        assert (reply.status, reply.json["code"], reply.header("connection")) == (
            status,
            code,
            "close",
        )
    assert len(sockets.requests) == 1


async def test_nothing_after_a_rejected_handshake_is_a_request(
    gateway: Gateway, sockets: SocketCore, key: Any
) -> None:
    smuggled = f"GET /cores/live/smuggled HTTP/1.1\r\nHost: a\r\n{key.header}\r\n\r\n"
    lines = ("GET /cores/live/echo HTTP/1.1", "Host: a", *HANDSHAKE, "", smuggled)
    async with gateway.connection("\r\n".join(lines).encode()) as (reader, _):
        response = await reader.read()
    assert response.startswith(b"HTTP/1.1 401 ")
    assert response.count(b"HTTP/1.1") == 1
    assert sockets.requests == []


async def test_other_response_of_the_core_is_relayed(gateway: Gateway, key: Any) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await opened(gateway, key, "/refused")
    assert (caught.value.response.status_code, caught.value.response.body) == (409, b"busy\n")


# Raw Cores

RawCore = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@asynccontextmanager
async def raw_core(gateway: Gateway, behavior: RawCore) -> AsyncIterator[Any]:

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behavior(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with (
        serving(handle) as port,
        gateway.core(f"http://127.0.0.1:{port}", "live", **SETTINGS) as key,
    ):
        yield key


async def accept(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes = b""
) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(
        line.split(": ")[1]
        for line in head.split("\r\n")
        if line.lower().startswith("sec-websocket-key")
    )
    writer.write(SWITCHING + f"Sec-WebSocket-Accept: {accept_value(key)}\r\n\r\n".encode() + rest)


@pytest.mark.parametrize(
    "head",
    [SWITCHING + b"Sec-WebSocket-Accept: c29tZXRoaW5nIGVsc2UgIQ==\r\n", b"nonsense\r\n"],
    ids=["wrong accept", "no HTTP"],
)
async def test_invalid_acceptance_is_502(gateway: Gateway, head: bytes) -> None:
    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"\r\n")
        await reader.read()

    async with raw_core(gateway, behavior) as key:
        reply = await attempt(gateway, *HANDSHAKE, key.header)
    assert reply.outcome == (502, "core_unreachable")


@pytest.mark.parametrize("headers", [(), ("Content-Length: 0",)])
async def test_data_beside_the_handshake_is_not_lost(
    gateway: Gateway, headers: tuple[str, ...]
) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()
    hello, early = (
        Frame(Opcode.TEXT, b"hello").serialize(mask=False),
        Frame(Opcode.TEXT, b"early").serialize(mask=True),
    )

    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer, hello)
        received.put_nowait(await reader.readexactly(len(early)))

    async with (
        raw_core(gateway, behavior) as key,
        gateway.connection(handshake(key, *headers) + early) as (reader, _),
    ):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(len(hello)) == hello
        assert await received.get() == early


async def test_handshake_can_follow_other_requests_on_a_connection(
    gateway: Gateway, sockets: SocketCore, key: Any
) -> None:
    ping, pong = (
        Frame(Opcode.PING, b"x").serialize(mask=True),
        Frame(Opcode.PONG, b"x").serialize(mask=False),
    )
    data = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + handshake(key) + ping
    async with gateway.connection(data) as (reader, _):
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readuntil(b"}}")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(len(pong)) == pong
    assert await sockets.close_code() == 1001


async def test_timeouts_of_requests_do_not_apply_to_websockets(key: Any, another: Any) -> None:
    client = another(GATEHOUSE_REQUEST_TIMEOUT_S="1")
    async with opened(client, key) as connection:
        for _ in range(2):  # these connections, which are opened later, reach their timeouts first
            async with client.connection(b"GET /healthz HTTP/1.1\r\nHost: a\r\n") as (reader, _):
                assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        await connection.send("open")
        assert await connection.recv() == "open"


@asynccontextmanager
async def unanswered(
    gateway: Gateway,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The connection of a client to whose handshake the Core does not respond. Waits until the
    gateway closes the connection to the Core.
    """
    began, ended = asyncio.Event(), asyncio.Event()

    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        began.set()
        with suppress(ConnectionError):
            await reader.read()
        ended.set()

    async with raw_core(gateway, behavior) as key, gateway.connection(handshake(key)) as connection:
        await began.wait()
        yield connection
        await ended.wait()


@pytest.mark.bound("http.protocol:_UPGRADE_BYTES_MAX")
async def test_flood_before_the_acceptance_is_cut_off(gateway: Gateway) -> None:
    async with unanswered(gateway) as (reader, writer):
        writer.write(bytes(5_000))
        with suppress(ConnectionError):
            assert await reader.read() == b""


async def test_client_that_leaves_during_the_handshake_cancels_it(gateway: Gateway) -> None:
    async with unanswered(gateway) as (_, writer):
        writer.close()


# Frames


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([Frame(Opcode.TEXT, bytes(MESSAGE_MAX + 1))], 1009),
        ([Frame(Opcode.TEXT, bytes(MESSAGE_MAX), fin=False), Frame(Opcode.CONT, b"x")], 1009),
        ([Frame(Opcode.CONT, b"x")], 1002),
    ],
    ids=["large frame", "large message", "continuation of nothing"],
)
async def test_invalid_message_of_a_client_closes_both_sides(
    gateway: Gateway, sockets: SocketCore, key: Any, frames: list[Frame], code: int
) -> None:
    async with opened(gateway, key) as client:
        client.transport.write(b"".join(frame.serialize(mask=True) for frame in frames))
        assert (await closed(client))[0] == code
    assert await sockets.close_code() == 1001
    assert sockets.received == []


async def test_large_message_of_a_core_closes_both_sides(
    gateway: Gateway, sockets: SocketCore, key: Any
) -> None:
    async with opened(gateway, key, "/large") as client:
        await client.send(str(MESSAGE_MAX + 1))
        assert await closed(client) == (
            1009,
            f"from the Core: a message is larger than {MESSAGE_MAX} bytes",
        )
    assert await sockets.close_code() == 1009


# Floods of frames


def flood(*, mask: bool) -> bytes:
    data = Frame(Opcode.PING, b"").serialize(mask=mask)
    return data * (100_000 // len(data))


async def write_until_closed(writer: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(ConnectionError):
        while True:
            writer.write(data)
            await writer.drain()


async def read_until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(1 << 20):
            pass


@asynccontextmanager
async def flooding(gateway: Gateway, sender: str) -> AsyncIterator[Any]:
    """The client or the Core floods WebSockets of a key. Yields another key; the Core answers each
    of its messages.
    """
    tasks: set[asyncio.Task[None]] = set()
    hello = Frame(Opcode.TEXT, b"hello").serialize(mask=False)

    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        reader.feed_data(head)  # for `accept`
        await accept(reader, writer)
        if head.startswith(b"GET /answer"):
            while await reader.read(1 << 16):
                writer.write(hello)
        elif sender == "core":
            await write_until_closed(writer, flood(mask=False))
        else:
            await read_until_closed(reader)

    async with raw_core(gateway, behavior) as key:
        writers = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(handshake(key))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            tasks.add(asyncio.create_task(read_until_closed(reader)))
            if sender == "client":
                tasks.add(asyncio.create_task(write_until_closed(writer, flood(mask=True))))
            writers.append(writer)
        yield await gateway.create_key()
        assert [
            task for task in tasks if task.done()
        ] == []  # the floods are slowed down and not closed
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks)


@pytest.mark.bound("gateway.websocket:_WAITING_FRAMES_MAX")
@pytest.mark.parametrize("sender", ["client", "core"])
async def test_other_keys_are_served_during_a_flood_of_frames(
    gateway: Gateway, sender: str
) -> None:
    async with flooding(gateway, sender) as key, opened(gateway, key, "/answer") as client:
        for _ in range(20):
            assert (await gateway.get("/healthz")).status == 200
            assert await gateway.code(key.token) == "VALID"
            await client.send("hello")
            async with asyncio.timeout(PATIENCE_S):
                assert await client.recv() == "hello"
        assert client.state is State.OPEN
        client.transport.abort()  # this Core does not confirm a Close frame


# End of a WebSocket


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (4321, "application")])
async def test_close_codes_are_relayed(
    gateway: Gateway, sockets: SocketCore, key: Any, code: int, reason: str
) -> None:
    async with opened(gateway, key) as client:
        await client.close(code, reason)
    assert await sockets.close_code() == code
    assert sockets.connections[0].close_reason == reason
    async with opened(gateway, key, "/greet") as client:
        assert await client.recv() == "welcome"
        await sockets.connections[1].close(code, reason)
        assert await closed(client) == (code, reason)


@pytest.mark.parametrize("how", ["abort", "half-close"])
async def test_lost_client_closes_the_connection_to_the_core(
    gateway: Gateway, sockets: SocketCore, key: Any, how: str
) -> None:
    client = await opened(gateway, key)
    await client.send("ready")
    await client.recv()
    if how == "abort":
        client.transport.abort()
    else:
        client.transport.write_eof()
    assert await sockets.close_code() == 1001
    (line,) = await gateway.lines_with(request_id=client.response.headers["X-Request-Id"])
    assert line["websocket"]["close_code"] == 1006
    client.transport.abort()


async def test_core_that_ends_in_mid_message_closes_with_1011(gateway: Gateway) -> None:
    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer, b"\x82\x7e\xff\xff" + b"half of a message")
        await reader.read(1)
        writer.transport.abort()

    async with raw_core(gateway, behavior) as key:
        async with opened(gateway, key) as client, asyncio.timeout(PATIENCE_S):
            stream = client.recv_streaming()
            assert await anext(stream) == b"half of a message"
            await client.send("end")
            with pytest.raises(ConnectionClosed):
                await anext(stream)
        assert (client.close_code, client.close_reason) == (1011, "the Core closed the connection")


@pytest.mark.requirement("TR-08")
@pytest.mark.parametrize(
    "change",
    [
        "state = 'revoked', revoked_at = now()",
        "scopes = '{}'",
        "expires_at = now() + interval '1 second'",
    ],
)
async def test_websocket_is_closed_when_the_key_no_longer_permits_it(
    gateway: Gateway, sockets: SocketCore, key: Any, change: str
) -> None:
    async with opened(gateway, key) as client, opened(gateway, await gateway.create_key()) as other:
        await gateway.pool.execute((f"UPDATE api_key SET {change} WHERE id = $1"), key.id)  # noqa: S608
        assert (await closed(client))[0] == 1008
        assert await sockets.close_code() == 1001
        await other.send("still open")
        assert await other.recv() == "still open"


async def test_key_that_is_revoked_during_the_handshake_is_rejected(gateway: Gateway) -> None:
    started, resume = asyncio.Event(), asyncio.Event()

    async def behavior(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started.set()
        await resume.wait()
        await accept(reader, writer)
        await reader.read()

    async with raw_core(gateway, behavior):
        key = await key_with_credits(gateway, 10)
        pending = asyncio.create_task(attempt(gateway, *HANDSHAKE, key.header))
        await started.wait()
        await gateway.revoke(key)
        resume.set()
        assert (await pending).status == 401
        assert await remaining_credits(gateway, key) == 9


async def test_change_that_permits_the_websocket_keeps_it_open(gateway: Gateway, key: Any) -> None:
    async with opened(gateway, key) as client:
        seq = await gateway.pool.fetchval(
            "UPDATE api_key SET name = 'renamed' WHERE id = $1 RETURNING change_seq", key.id
        )
        await applied(gateway.pool, seq)
        await client.send("open")
        assert await client.recv() == "open"


# Bounds, log and metrics


@pytest.mark.bound("websockets_max")
async def test_open_websockets_are_bounded(key: Any, another: Any) -> None:
    client = another(GATEHOUSE_WEBSOCKETS_MAX="2")
    async with opened(client, key), opened(client, key):
        reply = await attempt(client, *HANDSHAKE, key.header)
        assert (reply.status, reply.json["code"], reply.header("retry-after")) == (
            503,
            "unavailable",
            "1",
        )
        assert reply.json["detail"] == "The gateway has reached its limit of open WebSockets."
        assert await client.metric("gatehouse_websockets") == 2
    async with asyncio.timeout(PATIENCE_S):
        while await client.metric("gatehouse_websockets"):
            await asyncio.sleep(0.005)
    async with opened(client, key):
        pass


async def test_key_with_the_most_websockets_makes_room_for_others(
    gateway: Gateway, key: Any, another: Any
) -> None:
    client, other = another(GATEHOUSE_WEBSOCKETS_MAX="2"), await gateway.create_key()
    async with opened(client, key) as first, opened(client, key) as second:
        async with opened(client, other):
            assert await closed(first) == (1013, "other keys need the place")
            assert (await attempt(client, *HANDSHAKE, key.header)).status == 503
        await second.send("open")
        assert await second.recv() == "open"


async def test_idle_websocket_is_closed(sockets: SocketCore, key: Any, another: Any) -> None:
    client = another(GATEHOUSE_LOAD_BALANCER_IDLE_TIMEOUT_S="2")
    async with opened(client, key) as client:
        assert await closed(client) == (1001, "idle timeout")
    assert await sockets.close_code() == 1001


async def test_core_declares_a_shorter_idle_timeout(gateway: Gateway, sockets: SocketCore) -> None:
    async with (
        gateway.core(sockets.url, "live", **SETTINGS, idle_timeout_s=1) as key,
        opened(gateway, key) as client,
    ):
        assert await closed(client) == (1001, "idle timeout")


async def test_websocket_is_a_request_in_progress_until_the_gateway_stops(
    sockets: SocketCore, key: Any, another: Any
) -> None:
    client = another(GATEHOUSE_CORE_REQUESTS_MAX="1")
    for _ in range(2):
        async with opened(client, key):
            reply = await client.get("/cores/live/x", key.header)
            assert reply.outcome == (503, "core_overloaded")
        assert await sockets.close_code() == 1000
    async with opened(client, key) as connection:
        client.child.process.send_signal(signal.SIGTERM)
        assert await closed(connection) == (1001, "the gateway is stopping")
    assert await sockets.close_code() == 1001
    assert await asyncio.to_thread(client.child.process.wait, 30) == 0


async def test_feature_disables_websockets(sockets: SocketCore, key: Any, another: Any) -> None:
    client = another(GATEHOUSE_FEATURES="websocket=off")
    reply = await attempt(client, *HANDSHAKE, key.header)
    assert reply.status == 426  # of the Core, which received a request without an upgrade
    assert sockets.requests == []


@pytest.mark.requirement("CG-12")
async def test_websocket_is_logged_and_counted_once(gateway: Gateway, key: Any) -> None:
    counters = (
        'gatehouse_websockets_closed_total{code="application"}',
        'gatehouse_websocket_bytes_total{sender="core"}',
    )
    before = [await gateway.metric(counter) for counter in counters]
    async with opened(gateway, key) as client:
        request_id = client.response.headers["X-Request-Id"]
        await client.send("hello")
        await client.recv()
        assert not [line for line in gateway.lines() if line.get("request_id") == request_id]
        await until_written(gateway, key.id, 1)  # the usage is counted when the WebSocket is opened
        await client.close(4000)
    assert await written(gateway, key.id) == 1
    (line,) = await gateway.lines_with(request_id=request_id)
    assert (line["status"], line["route"], line["code"], line["key_id"]) == (
        101,
        ROUTE,
        "VALID",
        key.id,
    )
    # A masked frame has a header of 6 bytes, and any other frame a header of 2 bytes.
    assert line["websocket"] == {
        "close_code": 4000,
        "bytes_from_client": 6 + 5 + 6 + 2,
        "bytes_from_core": 2 + 5 + 2 + 2,
    }
    assert [await gateway.metric(counter) for counter in counters] == [
        before[0] + 1,
        before[1] + 11,
    ]
    assert key.token not in gateway.log.read_text()


# Drain


@pytest.mark.parametrize("revoked", [False, True])
async def test_websocket_is_closed_at_the_end_of_a_drain(
    gateway: Gateway, sockets: SocketCore, revoked: bool
) -> None:
    agent, reply = await gateway.register(sockets.url, "live")
    key = await gateway.create_key()
    async with opened(gateway, key) as client:
        end = f"/v1/cores/live?lease_id={reply.json['lease_id']}&drain_s="
        assert (await gateway.request("DELETE", f"{end}3600", agent.header)).status == 204
        await client.send("during the drain")
        assert await client.recv() == "during the drain"
        assert (await gateway.get("/cores/live/x", key.header)).status == 503
        if revoked:
            await gateway.pool.execute(repository._END_REGISTRATIONS, agent.id)
        else:
            assert (await gateway.request("DELETE", f"{end}0", agent.header)).status == 204
        assert await closed(client) == (1001, "the instance of the Core has ended")
    assert await sockets.close_code() == 1001


async def test_websocket_is_closed_when_another_registration_replaces_its_core(
    gateway: Gateway, sockets: SocketCore
) -> None:
    await gateway.register(sockets.url, "live")
    async with opened(gateway, await gateway.create_key()) as client:
        await gateway.pool.execute("UPDATE core SET expires_at = now() WHERE name = 'live'")
        assert (await gateway.register("http://127.0.0.1:1", "live"))[1].status == 200
        assert await closed(client) == (1001, "the instance of the Core has ended")
    assert await sockets.close_code() == 1001
