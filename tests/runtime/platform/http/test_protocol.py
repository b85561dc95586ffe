"""Deadlines and bounds of connections, on raw sockets."""

import asyncio
import gc
import hashlib
import ipaddress
import json
import re
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.errors import GatehouseError, TooManyRequests, Unavailable
from gatehouse.platform.batched_writes import BatchedWrites
from gatehouse.platform.http import connections
from gatehouse.platform.http.asgi import (
    JSON,
    ClientGone,
    Response,
    StreamedResponse,
    body_chunks,
    reply,
    response_headers,
    send_messages,
    send_stream,
)
from gatehouse.platform.http.connections import (
    ANYONE,
    BODIES_BYTES_MAX,
    NETWORK_BODIES_BYTES_MAX,
    OWNER_BODIES_BYTES_MAX,
    UNSENT_BYTES_MAX,
    Connections,
    KeptBytes,
    names_of,
)
from gatehouse.platform.http.exchange import (
    _COPIED_BYTES,
    _PARTS_MAX,
    Exchange,
    body_memory,
    exchange_of,
)
from gatehouse.platform.http.listening import listen
from gatehouse.platform.http.protocol import _HEAD_END, _SLICE_BYTES, HttpProtocol
from gatehouse.platform.http.server import Server
from gatehouse.platform.http.transport import ClientTransport
from gatehouse.platform.settings import ConnectionSettings

from tests.runtime.iterations import repeats_long_iterations, short_iterations
from tests.runtime.waiting import until
from tools.attack.corpora import MALFORMED_REQUESTS, UNFINISHED_BODIES, UNFINISHED_HEADS

#: Much longer than any deadline below.
PATIENCE_S = 60
NEVER = ConnectionSettings(request_timeout_s=600, response_timeout_s=600)
LARGE = 50_000_000


@dataclass
class Running:
    port: int
    connections: Connections
    rejected: list[str]
    #: Path of each request whose client disconnected before it was complete.
    gone: list[str] = field(default_factory=list)
    #: The path /unread waits for this before it reads the body.
    resume: asyncio.Event = field(default_factory=asyncio.Event)
    server: Server = field(init=False)

    async def connect(
        self, receive_buffer: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return await asyncio.open_connection(sock=sock, limit=2**16)

    @asynccontextmanager
    async def connection(
        self, data: bytes = b""
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await self.connect()
        writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            yield reader, writer
        writer.close()

    async def send(self, data: bytes) -> bytes:
        """The bytes until the server closes the connection. The client does not close its side
        first.
        """
        reader, writer = await self.connect()
        writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await reader.read()
            finally:
                writer.close()

    async def is_healthy(self) -> bool:
        return b" 200 " in await self.send(
            b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )


#: How the application responds: in a task, without a task and without waiting, or without a task
#: after it has waited.
MODES = ("task", "immediate", "waiting")


@dataclass
class _Application:
    running: Running
    mode: str

    @property
    def begin(self) -> Any:
        return None if self.mode == "task" else self

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan" or has_task() == (self.mode == "task")
        if self.mode == "waiting" and scope["type"] == "http":
            event = asyncio.Event()
            asyncio.get_running_loop().call_soon(event.set)
            await event.wait()
        await _application(self.running, scope, receive, send)


def has_task() -> bool:
    return asyncio.current_task() is not None


async def _parts() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0)
        yield b"{}"


async def _costly_parts() -> AsyncIterator[bytes]:
    for size in (0, 4_000_000, 4_000_000):
        hashlib.sha256(bytes(size))
        yield b"{}"


async def _failing_parts() -> AsyncIterator[bytes]:
    yield b"{"
    raise EOFError


_STREAMS = {"/stream": _parts, "/costly-stream": _costly_parts, "/failing-stream": _failing_parts}


async def _application(running: Running, scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/early":
        await reply(send, 401, b"{}")
        return
    if scope["path"] in _STREAMS:
        parts = _STREAMS[scope["path"]]()
        await send_stream(receive, send, StreamedResponse(200, [], parts), head=False)
        return
    if scope["path"] == "/whole":
        await reply(send, 200, bytes(LARGE))
        return
    if scope["path"] == "/large":
        headers = [(b"content-length", str(LARGE).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        part = {"type": "http.response.body", "body": b"x" * 50_000}
        for number in range(LARGE // 50_000, 0, -1):
            await send({**part, "more_body": number > 1})
        return
    if scope["path"] == "/unread":
        await running.resume.wait()
    costs = 500 if scope["path"] == "/costly" else 0
    body, exchange = b"", exchange_of(scope)
    try:
        with body_memory(scope) as keep:
            async for chunk in body_chunks(scope, receive, 10_000_000):
                if scope["path"] in ("/owner", "/held") and exchange is not None:
                    exchange.subject = ("owner", "link")
                body += chunk
                keep(len(chunk))
                if scope["path"] == "/waits":
                    await asyncio.Event().wait()
            if scope["path"] in ("/held", "/late"):
                await running.resume.wait()
    except ClientGone:
        running.gone.append(scope["path"])
        return
    except GatehouseError as exc:
        await reply(send, exc.status, b"")
        return
    for _ in range(costs):
        hashlib.sha256(body)
    text = f"{scope['path']} {len(body)}".encode()
    response, exchange = Response(200, response_headers(text, JSON, ()), text), exchange_of(scope)
    if exchange is not None and exchange.is_writable:
        exchange.respond(response)
    else:
        await send_messages(send, response)


@asynccontextmanager
async def running(
    limits: ConnectionSettings,
    trusted: str = "",
    mode: str = "task",
    kind: type[Server] = Server,
    workers: int = 1,
) -> AsyncIterator[Running]:
    rejected: list[str] = []

    def on_reject(error: GatehouseError, address: str) -> None:
        rejected.append(error.code)

    networks = (ipaddress.ip_network(trusted),) if trusted else ()
    connections = Connections(limits, ClientAddresses(networks), on_reject, workers)
    sock = listen("127.0.0.1", 0)
    server = Running(sock.getsockname()[1], connections, rejected)
    application = _Application(server, mode)
    server.server = http_server = kind(application, connections, handle_signals=False)
    serving = asyncio.create_task(http_server.serve([sock]))
    try:
        await until(lambda: http_server.started)
        yield server
    finally:
        http_server.stop(signal.SIGINT)
        await serving


@pytest.fixture(params=MODES)
async def patient(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(NEVER, mode=request.param) as server:
        yield server


@pytest.fixture(params=MODES)
async def hasty(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(
        ConnectionSettings(request_timeout_s=0.3, response_timeout_s=0.3), mode=request.param
    ) as server:
        yield server


def code_of(response: bytes) -> tuple[int, str]:
    """Status and code of the last response, a problem document that closes the connection."""
    head, _, body = response[response.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["code"]


POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("part", [b"", b"\r\n"])
async def test_silent_connection_is_closed(hasty: Running, part: bytes) -> None:
    assert await hasty.send(part) == b""


@pytest.mark.bound("request_timeout_s")
@pytest.mark.parametrize("part", UNFINISHED_HEADS)
async def test_unfinished_head_is_408(hasty: Running, part: bytes) -> None:
    assert code_of(await hasty.send(part)) == (408, "request_timeout")
    assert hasty.rejected == ["request_timeout"]


@pytest.mark.bound("request_timeout_s", "http.protocol:_LINGER_S")
@pytest.mark.parametrize("part", UNFINISHED_BODIES)
async def test_unfinished_body_is_408(hasty: Running, part: bytes) -> None:
    assert code_of(await hasty.send(part)) == (408, "request_timeout")
    # A request with a small body begins when the body has been received.
    assert hasty.gone == (["/x"] if b"chunked" in part else [])


@pytest.mark.bound("platform.settings:BYTES_PER_S_MIN")
async def test_trickled_body_is_408(hasty: Running) -> None:
    """Each byte extends the deadline by a fixed time, which is less than the interval of the
    client.
    """
    head = POST + b"Content-Length: 100000\r\n\r\n"
    async with hasty.connection(head) as (reader, writer):
        while not hasty.rejected:
            writer.write(b" ")
            await asyncio.sleep(0.01)
        assert code_of(await reader.read()) == (408, "request_timeout")


async def test_steady_body_outlasts_the_deadline() -> None:
    settings = ConnectionSettings(request_timeout_s=3)
    async with running(settings, mode="task") as server:
        reader, writer = await server.connect()
        writer.write(POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        clock = asyncio.get_running_loop().time
        start, size = clock(), 0
        while clock() < start + 1.2 * settings.request_timeout_s:
            writer.write(b"800\r\n%b\r\n" % (b"x" * 2048))
            size += 2048
            await asyncio.sleep(0.05)
        assert [each.waits_since > start + 1 for each in server.connections.protocols] == [True]
        writer.write(b"0\r\n\r\n")
        assert (await reader.read()).endswith(b"/x %d" % size)
        writer.close()


@pytest.mark.bound("platform.settings:BYTES_PER_S_MIN", "response_timeout_s")
async def test_client_that_does_not_read_is_closed(hasty: Running) -> None:
    # The kernel buffers a few kilobytes and the stream twice its limit; nothing reads the rest.
    _, writer = await hasty.connect(receive_buffer=4096)
    writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: hasty.connections.protocols)
    await until(lambda: not hasty.connections.protocols)
    writer.close()


async def test_request_waits_until_earlier_responses_are_read(patient: Running) -> None:
    reader, writer = await patient.connect(receive_buffer=4096)
    writer.write(b"GET /whole HTTP/1.1\r\nHost: a\r\n\r\n" + BUSY)
    await until(lambda: patient.connections.unsent.total)
    for _ in range(3):
        assert await patient.is_healthy()
    assert not patient.connections.running
    while not patient.connections.running:
        await reader.read(65_536)
    writer.close()


@pytest.mark.bound("http.protocol:_LINGER_BYTES_MAX", "sharing.submitted_form:DISCARDED_BYTES_MAX")
async def test_early_response_ends_an_endless_body(patient: Running) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nx"
    async with patient.connection(head) as (reader, writer):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
        (connection,) = patient.connections.protocols
        assert not connection._receiving._parts
        while not reader.exception():
            writer.write(bytes(65_536))
            await asyncio.sleep(0)


async def test_response_before_the_end_of_the_body_is_followed_by_no_reset(
    patient: Running,
) -> None:
    """RFC 9112, section 9.6: a reset could delete the response before the client has read it."""
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nConnection: %b\r\nContent-Length: 200000\r\n\r\n"
    async with patient.connection() as (reader, writer):
        for option in (b"keep-alive", b"keep-alive", b"close"):
            writer.write(head % option)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
            for _ in range(4):
                writer.write(bytes(50_000))
                await writer.drain()
                # The part was received, or the connection reset.
                assert await patient.is_healthy()
            assert await reader.readexactly(2) == b"{}"


@pytest.mark.bound(
    "http.protocol:_TARGET_BYTES_MAX",
    "http.protocol:_LINE_BYTES_MAX",
    "http.request_head:LENGTH_DIGITS_MAX",
    "http.protocol:_HEADERS_MAX",
    "http.protocol:_HEAD_BYTES_MAX",
    "http.protocol:_HEADER_BYTES_MAX",
    "http.protocol:_FRAMING_BYTES_MAX",
)
@pytest.mark.parametrize(("request_", "expected"), MALFORMED_REQUESTS)
async def test_malformed_request_is_explained(
    patient: Running, request_: bytes, expected: tuple[int, str]
) -> None:
    assert code_of(await patient.send(request_)) == expected
    assert await patient.is_healthy()


@pytest.mark.parametrize("start", [b"X: ", b"X"], ids=["value of a header", "name of a header"])
async def test_head_without_an_end_is_rejected(patient: Running, start: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: gateway.test\r\n" + start
    response = await patient.send(head + b"a" * 300_000)
    assert code_of(response) == (431, "headers_too_large")


async def test_small_chunks_with_short_extensions_are_accepted(
    patient: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, receive_body = [], Exchange.receive_body

    def receive(exchange: Exchange, data: bytes) -> None:
        parts.append(data)
        receive_body(exchange, data)

    monkeypatch.setattr(Exchange, "receive_body", receive)
    chunks = b"1;a=b\r\nx\r\n" * 5_000 + b"0\r\n\r\n"
    last = b"GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    pipelined = b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n" * 300 + last
    response = await patient.send(POST + CHUNKED + chunks + pipelined)
    assert response.count(b"/x 5000") == 1
    assert response.count(b"/y 0") == 301
    assert (b"".join(parts), len(parts) < 200) == (b"x" * 5_000, True)  # each takes time


async def test_name_of_another_protocol_in_a_request_is_accepted(patient: Running) -> None:
    body = b"POST /a RTSP/1.0\n"
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nUser-Agent: b RTSP/1.0\r\nContent-Length: %d\r\n\r\n"
    async with patient.connection(head % len(body) + body + b"GE") as (reader, writer):
        assert (await reader.readuntil(b"/a 17")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"T /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"/b 0")


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (b"", b"\r\r\nGET /stream RTSP/1.0"),
        (b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /x RTSP/1.0"),
        (POST + b"Content-Length: 5\r\n\r\na b c", b"SETUP /x RTSP/1.0"),
        (POST + CHUNKED + b"0\r\n\r\n", b"POST /x RTSP/1.0"),
    ],
)
async def test_request_line_of_another_protocol_is_rejected(before: bytes, line: bytes) -> None:
    data = before + line + b"\r\nHost: a\r\nX: %b\r\n\r\n" % (b"a" * 16_000)
    async with running(NEVER) as server:
        for size in range(len(data) - 15_990):
            async with server.connection(data[:size]) as (reader, writer):
                assert await server.is_healthy()  # so that each part arrives on its own
                writer.write(data[size:])
                responses = await reader.read()
            assert responses.count(b"HTTP/1.1 200 ") == bool(before), size
            assert responses.count(b"HTTP/1.1 400 ") == 1, size


async def test_trailers_are_discarded(patient: Running) -> None:
    response = await patient.send(
        POST
        + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nHost: b\r\n\r\n"
    )
    assert response.endswith(b"/x 1")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_only_clients_with_http_1_1_receive_status_100(
    patient: Running, version: bytes
) -> None:
    head = POST.replace(b"1.1", version) + b"Connection: close\r\nExpect: 100-continue\r\n"
    async with patient.connection(head + b"Content-Length: 1\r\n\r\n") as (reader, writer):
        if version == b"1.1":
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await patient.is_healthy()  # the application waits for the body
        writer.write(b"a")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_client_detects_an_incomplete_response_without_a_length() -> None:
    async with running(NEVER, mode="immediate") as server:
        response = await server.send(b"GET /failing-stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert response.endswith(b"\r\n\r\n1\r\n{\r\n")
        with pytest.raises(ConnectionResetError):
            await server.send(b"GET /failing-stream HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("path", [b"/early", b"/stream"])
async def test_body_that_was_not_asked_for_ends_the_connection(
    patient: Running, path: bytes
) -> None:
    head = POST.replace(b"/x", path) + b"Expect: 100-continue\r\nContent-Length: 99\r\n\r\n"
    response = await patient.send(head + NOW)
    assert (response.count(b"HTTP/1.1 "), response.count(b"connection: close\r\n")) == (1, 1)


@pytest.mark.parametrize("bad", [b"nonsense\r\n\r\n", POST + CHUNKED + b"ZZ\r\n"])
async def test_error_follows_earlier_responses(patient: Running, bad: bytes) -> None:
    response = await patient.send(
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n" + bad
    )
    assert [part.split(b" ")[0] for part in response.split(b"HTTP/1.1 ")[1:]] == [
        b"200",
        b"200",
        b"400",
    ]
    assert code_of(response) == (400, "bad_request")


NOW = b"POST /now?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
LAST = b"GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def test_parts_of_a_request_arrive_separately(patient: Running) -> None:
    for cut in range(1, len(NOW), 5):
        async with patient.connection() as (reader, writer):
            for part in (NOW, NOW[:cut], NOW[cut:] + LAST):
                writer.write(part)
                await writer.drain()
                assert await patient.is_healthy()  # so that each part arrives on its own
            response = await reader.read()
        assert re.findall(rb"/now ([04])", response) == [b"4", b"4", b"0"], cut


@pytest.mark.bound("load_balancer_idle_timeout_s")
@pytest.mark.parametrize("mode", MODES)
async def test_idle_connection_is_closed(mode: str) -> None:
    limits = ConnectionSettings.model_construct(
        request_timeout_s=600, response_timeout_s=600, load_balancer_idle_timeout_s=2
    )
    async with running(limits, mode=mode) as server, server.connection() as (reader, writer):
        for _ in range(3):
            writer.write(NOW)
            await reader.readuntil(b"/now 4")
        assert await reader.read() == b""


@pytest.mark.parametrize("mode", MODES)
async def test_many_pipelined_requests_are_answered_in_order(mode: str) -> None:
    numbers = range(600)
    post = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n" + b"a" * 50
    async with running(NEVER, mode=mode) as server:
        data = b"".join(post % number for number in numbers) + LAST
        assert len(data) > 5 * _SLICE_BYTES
        response = await server.send(data)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in response.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [*(b"/%d 50" % number for number in numbers), b"/now 0"]


@pytest.mark.parametrize("mode", MODES)
async def test_idle_connection_outlasts_the_deadline_of_a_request(mode: str) -> None:
    limits = ConnectionSettings(request_timeout_s=1)
    async with running(limits, mode=mode) as server, server.connection(NOW) as (reader, writer):
        await reader.readuntil(b"/now 4")
        # The deadline of this unfinished request starts later but ends first.
        assert code_of(await server.send(b"GET /now HTTP/1.1\r\n")) == (408, "request_timeout")
        assert code_of(await server.send(b"GET /now HTTP/1.1\r\n")) == (408, "request_timeout")
        writer.write(NOW)
        await reader.readuntil(b"/now 4")
        writer.write(b"GET /now")
        assert code_of(await reader.read()) == (408, "request_timeout")


async def test_request_after_connection_close_is_not_served(patient: Running) -> None:
    response = await patient.send(
        b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert response.count(b"HTTP/1.1 ") == 1


@asynccontextmanager
async def opened(
    server: Running, number: int, data: bytes = b""
) -> AsyncIterator[list[asyncio.StreamReader]]:
    streams = [await server.connect() for _ in range(number)]
    for _, writer in streams:
        writer.write(data)
    try:
        yield [reader for reader, _ in streams]
    finally:
        for _, writer in streams:
            writer.close()


FEW = ConnectionSettings.model_construct(connections_max=3)
BUSY = b"GET /unread HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.bound("connections_max")
async def test_connections_of_a_worker_are_bounded() -> None:
    async with running(FEW) as server:
        async with opened(server, 3, BUSY):
            await until(lambda: len(server.connections.running) == 3)
            assert code_of(await server.send(b"")) == (503, "unavailable")
        await until(lambda: not server.connections.protocols)
        assert await server.is_healthy()


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (b"", b""),
        (b"GET", b""),
        (POST + b"Content-Length: 9\r\n\r\n", b""),
        (POST + CHUNKED, b""),
        (NOW, b"HTTP"),
        (b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", b"HTTP"),
    ],
)
async def test_connections_without_a_request_make_room(data: bytes, start: bytes) -> None:
    async with running(FEW) as server, server.connection(BUSY) as (reader, _):
        await until(lambda: server.connections.running)
        async with opened(server, 2, data) as readers:
            await until(lambda: len(server.connections.protocols) == 3)
            assert [await each.readexactly(len(start)) for each in readers] == [start] * 2
            assert await server.is_healthy()
        assert server.rejected == ["unavailable"]
        server.resume.set()
        assert (await reader.readuntil(b"/unread 0")).startswith(b"HTTP/1.1 200 ")


async def test_requests_of_the_network_with_the_most_make_room() -> None:
    async with running(FEW, "127.0.0.0/8") as server, AsyncExitStack() as stack:
        readers = []
        for address in (b"::", b"192.0.2.1", b"192.0.2.1"):
            head = BUSY[:-2] + b"X-Forwarded-For: %b\r\n\r\n" % address
            readers.append((await stack.enter_async_context(server.connection(head)))[0])
            await until(lambda: len(server.connections.running) == len(readers))
        assert await server.is_healthy()
        assert await readers[1].read() == b""
        server.resume.set()
        for reader in readers[::2]:
            assert (await reader.readuntil(b"/unread 0")).startswith(b"HTTP/1.1 200 ")


UPLOAD = POST + b"X-Forwarded-For: 192.0.2.%d\r\n" + CHUNKED


@pytest.mark.parametrize(
    ("start", "later", "end", "others"),
    [
        (b"", UPLOAD % 1, b"0\r\n\r\n", (b"", BUSY)),
        (UPLOAD % 1, b"", b"0\r\n\r\n", (UPLOAD % 2, UPLOAD % 2)),
        (b"", b"", LAST, (UPLOAD % 2, b"")),
        (b"", b"", LAST, (b"?\r\n\r\n", BUSY)),
    ],
)
async def test_connections_make_room_in_order(
    start: bytes, later: bytes, end: bytes, others: tuple[bytes, ...]
) -> None:
    """First of rejected clients and those with the most, then those that waited longest. Idle
    ones of a proxy are last.
    """
    async with running(FEW, "127.0.0.0/8") as server, server.connection(start) as (reader, to):
        await until(lambda: len(server.connections.protocols) == 1)
        async with server.connection(others[0]), server.connection(others[1]):
            await until(lambda: len(server.connections.protocols) == 3)
            to.write(later)
            begun = sum(b" " in each for each in (start, later, *others))
            await until(lambda: len(server.connections.running) == begun)
            await until(lambda: bool(server.rejected) == others[0].startswith(b"?"))
            assert await server.is_healthy()
        to.write(end)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("addresses", "unread", "closed"),
    [
        (["192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.2"], 0, 1),
        (["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"], 0, 0),  # the others are new
        (["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], 1, 1),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], 4, 0),
    ],
)
@pytest.mark.parametrize("tls", [False, True])
async def test_network_with_the_most_connections_makes_room_for_others(
    addresses: list[str], unread: int, closed: int, tls: bool
) -> None:
    """unread: number of the first connections whose client has not read its response.

    The transports have no socket, like those of lost connections.
    """
    worker = Connections(FEW, ClientAddresses(()))
    transports = [
        UnreadTransport(n < unread, address, tls=tls) for n, address in enumerate(addresses)
    ]
    for transport in transports:
        HttpProtocol(_not_called, worker, {}).connection_made(transport)
    assert [each.is_aborted for each in transports] == [n == closed for n in range(4)]


async def test_connection_of_an_incomplete_response_that_is_not_read_makes_room() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    worker = Connections(FEW, ClientAddresses(()))
    protocol = HttpProtocol(application, worker, {})
    protocol.connection_made(UnreadTransport(True, "192.0.2.1", tls=True))
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: protocol.is_waiting)


async def _not_called(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


@pytest.mark.bound("address_connections_max")
@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8"])
async def test_connections_of_an_address_are_bounded(trusted: str) -> None:
    few = ConnectionSettings(address_connections_max=3)
    async with running(few, trusted) as server, opened(server, 3):
        await until(lambda: len(server.connections.protocols) == 3)
        assert await server.is_healthy() == bool(trusted)


@pytest.mark.bound("address_bodies_max")
@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8"])
async def test_unfinished_bodies_of_an_address_are_bounded(trusted: str) -> None:
    body = POST + b"Content-Length: 10\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n{"
    async with running(ConnectionSettings(address_bodies_max=3), trusted) as server:
        bodies = server.connections.bodies
        async with opened(server, 3, body):
            await until(lambda: sum(bodies.values()) == 3)
            assert code_of(await server.send(body)) == (429, "too_many_requests")
            assert await server.is_healthy()
            other = body.replace(b"192.0.2.1", b"192.0.2.2")
            async with opened(server, 1, other):
                await until(lambda: bool(trusted) == ("192.0.2.2" in bodies))
        await until(lambda: not bodies)


@pytest.mark.parametrize(
    ("addresses", "count"),
    [
        (["2001:db8::1", "2001:db8::2:3"], 2),
        (["2001:db8::1", "2001:db8:0:1::1"], 1),
        (["192.0.2.1", "::ffff:192.0.2.1"], 2),
        (["::ffff:192.0.2.1", "::ffff:192.0.2.2"], 1),
    ],
)
def test_connections_and_bodies_count_by_network(addresses: list[str], count: int) -> None:
    """An IPv6 /64 has one limit. IPv4 clients of a dual-stack socket have separate limits."""
    connections = Connections(ConnectionSettings(address_connections_max=1), ClientAddresses(()))
    with pytest.raises(TooManyRequests) if count > 1 else nullcontext():
        for address in addresses:
            connections.open(address)
    networks = {connections.network(address, []) for address in addresses}
    assert len(networks) == 3 - count


@pytest.mark.bound("http.connections:BODIES_BYTES_MAX", "http.connections:OWNER_BODIES_BYTES_MAX")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("many", ["owners", "networks", "owners and networks"])
def test_bytes_of_unfinished_bodies_of_a_service_are_bounded(workers: int, many: str) -> None:
    worker = Connections(NEVER, ClientAddresses(()), workers=workers)
    size = NETWORK_BODIES_BYTES_MAX // workers
    assert BODIES_BYTES_MAX == 2 * OWNER_BODIES_BYTES_MAX == 4 * NETWORK_BODIES_BYTES_MAX
    for number in range(2):
        worker.count_bytes(None, f"192.0.2.{number}", size)
        worker.count_bytes(None, f"192.0.2.{number}", size, ("a", str(number)))
    for network, subject, error in (
        ("192.0.2.9", ANYONE, Unavailable),
        ("192.0.2.9", ("a", "9"), TooManyRequests),
        ("192.0.2.0", ANYONE, TooManyRequests),
        ("192.0.2.0", ("b", ""), TooManyRequests),
    ):
        with pytest.raises(error):
            worker.count_bytes(None, network, 1, subject)
        worker.count_bytes(None, network, -1, subject)
    for number in range(9):
        owner = str(number) if "owners" in many else "b"
        address = f"192.0.2.{10 + number}" if "networks" in many else "192.0.2.3"
        worker.count_bytes(None, address, 1, (owner, ""))
    allowed = nullcontext() if many != "owners and networks" else pytest.raises(Unavailable)
    with allowed:  # although the others cannot be rejected
        worker.count_bytes(None, "192.0.2.4", size // 2, ("c", ""))


class UnreadTransport(asyncio.Transport):
    def __init__(self, unsent: int, address: str = "192.0.2.1", *, tls: bool = False) -> None:
        super().__init__({"peername": (address, 1), "sslcontext": tls or None})
        self.unsent = unsent
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def write(self, data: object) -> None: ...


@pytest.mark.bound("http.connections:UNSENT_BYTES_MAX")
@pytest.mark.parametrize("workers", [1, 2])
async def test_bytes_of_responses_that_are_not_read_are_bounded(workers: int) -> None:
    """The client that has waited for the longest time is disconnected, also behind a proxy."""
    addresses = ClientAddresses([ipaddress.ip_network("192.0.2.1")])
    worker = Connections(NEVER, addresses, workers=workers)
    size = UNSENT_BYTES_MAX // workers // 3
    transports = [UnreadTransport(size) for _ in range(4)]

    def sent(transport: UnreadTransport, address: bytes) -> ClientTransport:
        protocol = HttpProtocol(_not_called, worker, {})
        protocol.connection_made(transport)
        protocol.data_received(POST + b"Content-Length: 9\r\nX-Forwarded-For: %b\r\n\r\n" % address)
        return protocol.transport

    clients = [sent(transport, b"::") for transport in transports]
    other = sent(UnreadTransport(1), b"1::")
    other.pause_writing()  # waits for the longest time, but other networks have more bytes
    for client in clients[:3]:
        client.pause_writing()
    transports[1].unsent = 0
    clients[1].resume_writing()
    clients[1].pause_writing()
    clients[3].pause_writing()
    assert [transport.is_aborted for transport in transports] == [False] * 4
    transports[1].unsent = size
    clients[1].pause_writing()
    assert [transport.is_aborted for transport in transports] == [True, False, False, False]
    assert not other.is_closing
    for client in (*clients, other):
        client.lost()
    assert worker.unsent.total == 0
    client = ClientTransport(transports[1], worker)
    client.write(bytes(size + 1))
    client.pause_writing()
    assert worker.unsent.total == size + 1


@pytest.mark.bound("http.connections:UNSENT_BYTES_MAX")
async def test_clients_of_a_link_do_not_disconnect_those_of_another() -> None:
    worker = Connections(NEVER, ClientAddresses(()))
    clients = list[ClientTransport]()
    sizes = [UNSENT_BYTES_MAX // 4 + 1, *[UNSENT_BYTES_MAX // 8] * 6]
    for number, size in enumerate(sizes):
        client = ClientTransport(UnreadTransport(size), worker, f"192.0.2.{number}")
        client.subject = ("owner", str(not number))
        client.pause_writing()
        clients.append(client)
    assert [client.is_closing for client in clients] == [False, True, *[False] * 5]
    clients[0].subject = ANYONE  # of a later request
    clients[0].pause_writing()
    for client in clients:
        client.lost()
    assert worker.unsent == {}


@pytest.mark.bound("http.connections:NETWORK_BODIES_BYTES_MAX")
async def test_bytes_of_unfinished_bodies_of_a_network_are_bounded() -> None:
    size = NETWORK_BODIES_BYTES_MAX // 2
    body = POST + b"Content-Length: 9999999\r\n\r\n" + b"x" * size
    async with running(NEVER) as server:
        async with opened(server, 2, body):
            await until(lambda: server.connections.unfinished.total == 2 * size)
            start = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
            async with server.connection(start) as (reader, writer):
                await until(lambda: server.rejected == ["too_many_requests"])
                writer.write(b"0\r\n\r\n")  # the largest request is rejected
                assert (await reader.readuntil()).startswith(b"HTTP/1.1 200 ")
        await until(lambda: not server.connections.unfinished.total)


@pytest.mark.bound("http.connections:NETWORK_BODIES_BYTES_MAX")
@pytest.mark.parametrize(
    ("start", "accepted", "network"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 50_000, 1, "127.0.0.1"),
        (POST + b"Content-Length: 9999\r\nX-Forwarded-For: ::1\r\n\r\n" + bytes(9_900), 8, "::/64"),
    ],
    ids=["head", "body"],
)
async def test_bytes_of_requests_that_have_not_begun_are_bounded(
    start: bytes, accepted: int, network: str
) -> None:
    async with running(NEVER, "127.0.0.0/8", workers=100) as server:
        async with opened(server, accepted, start) as readers:
            await until(lambda: server.connections.unfinished.total > 9_800 * accepted)
            kept = server.connections.unfinished
            assert kept["network", network] == kept.total
            async with opened(server, 1, start):
                assert (await readers[0].readuntil()).startswith(b"HTTP/1.1 429 ")
        await until(lambda: not server.connections.unfinished.total)


@pytest.mark.bound("http.connections:OWNER_BODIES_BYTES_MAX")
@pytest.mark.parametrize("size", [10_000, 83_000], ids=["not begun", "begun"])
async def test_networks_with_most_bytes_leave_memory_to_others(size: int) -> None:
    head = POST + b"Content-Length: %d\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n"
    async with running(NEVER, "127.0.0.0/8", workers=100) as server, AsyncExitStack() as clients:
        count = OWNER_BODIES_BYTES_MAX // 100 // size
        for number in range(count):
            body = head % (size + 1, number * size // 80_000) + b"a" * size
            await clients.enter_async_context(opened(server, 1, body))
        await until(lambda: server.connections.unfinished.total >= size * count)
        async with server.connection(head % (15_000, 255) + b"a" * 12_000) as (reader, writer):
            await until(lambda: server.rejected == ["unavailable"])
            writer.write(b"a" * 3_000)
            assert (await reader.readuntil(b"/x 15000")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.bound("http.connections:OWNER_BODIES_BYTES_MAX")
@pytest.mark.parametrize(
    ("path", "size", "rest"), [("x", 10_000, 1), ("x", 50_000, 1), ("late", 50_000, 0)]
)
async def test_clients_without_authorization_leave_memory_to_others(
    path: str, size: int, rest: int
) -> None:
    head = "POST /{} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ::{}\r\nContent-Length: {}\r\n\r\n"
    async with running(NEVER, "127.0.0.0/8", workers=100) as server, AsyncExitStack() as clients:
        limit, readers = OWNER_BODIES_BYTES_MAX // 100, list[asyncio.StreamReader]()
        for number in range(limit // size + 2):
            body = (head.format(path, f"{number}:0:0:0:0", size + rest) + "a" * size).encode()
            readers += await clients.enter_async_context(opened(server, 1, body))
        assert (await readers[0].readuntil()).startswith(b"HTTP/1.1 503 ")
        kept = server.connections.unfinished
        await until(lambda: 0 < limit - kept["owner", ""] < size)
        body = (head.format("owner", "1", 160_000) + "a" * 159_999).encode()
        async with server.connection(body) as (reader, writer):
            await until(lambda: kept["owner", "owner"] == 159_999)
            writer.write(b"a")
            assert (await reader.readuntil(b"/owner 160000")).startswith(b"HTTP/1.1 200 ")
        assert 0 < limit - kept["owner", ""] < size
        server.resume.set()


async def test_requests_without_authorization_of_clients_that_have_left_make_room() -> None:
    head = "POST /late HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ::{}:0:0:0:0\r\n"
    rest = "Content-Length: 50000\r\n\r\n" + "a" * 50_000
    async with running(NEVER, "127.0.0.0/8", workers=100) as server:
        kept, number = server.connections.unfinished, OWNER_BODIES_BYTES_MAX // 100 // 50_000
        for index in range(number):
            async with server.connection((head.format(index) + rest).encode()):
                await until(lambda: kept.total == 50_000 * (index + 1))  # noqa: B023
        await until(lambda: not server.connections.protocols)
        async with server.connection((head.format(number) + rest).encode()) as (reader, _):
            await until(lambda: any(not each.disconnected for each in kept.holders))
            server.resume.set()
            assert (await reader.readuntil(b"/late 50000")).startswith(b"HTTP/1.1 200 ")


async def test_unfinished_request_does_not_become_newer_with_further_bytes() -> None:
    start = POST + b"Content-Length: 15000\r\n\r\n" + b"a" * 9_000
    async with running(NEVER, workers=NETWORK_BODIES_BYTES_MAX // 20_000) as server:
        connections = server.connections
        async with server.connection(start) as (first, writer), opened(server, 1, start):
            await until(lambda: connections.unfinished.total == 18_000)
            writer.write(b"a")
            await until(lambda: connections.unfinished.total == 18_001)
            async with opened(server, 1, start):
                assert (await first.readuntil()).startswith(b"HTTP/1.1 429 ")


def test_oldest_of_the_subject_with_the_most_bytes_makes_room() -> None:
    kept = KeptBytes()
    counts = [("a", "1", 3), ("a", "2", 2), ("a", "1", 2), ("b", "1", 6), ("", "", 5)]
    for holder, (owner, link, size) in enumerate(counts):
        kept.count(holder, names_of((owner, link), f"192.0.2.{holder}"), size)
    assert list(kept.of_most()) == [0, 2]
    kept.end(0)
    kept.end(0)
    assert (list(kept.of_most()), kept.total) == ([3], 15)
    for holder in range(5, 9):
        kept.count(holder, names_of((str(holder), ""), "192.0.2.9"), 2)
    assert next(kept.of_most()) == 5
    for holder, size in enumerate((1, 3, 3), 9):
        kept.count(holder, names_of(ANYONE, f"192.0.2.{holder}"), size)
    assert list(kept.of_most("owner", "")) == [4, 10, 11]


async def test_application_of_a_rejected_body_does_not_wait() -> None:
    head = b"POST /waits HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"
    async with running(NEVER) as server, opened(server, 1, head + b"a"):
        await until(lambda: server.connections.unfinished.total > 0)
        server.connections._make_room(
            None, server.connections.unfinished.of_most(), Unavailable("")
        )
        await until(lambda: not server.connections.running)


async def test_body_counts_until_its_response_if_a_later_request_is_rejected() -> None:
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %b\r\n"
    held = head % (b"/held", b"::1") + b"Content-Length: 30000\r\n\r\n" + bytes(30_000)
    later = head % (b"/x", b"::1") + b"Content-Length: 15000\r\n\r\n" + bytes(10_000)
    async with running(NEVER, "127.0.0.0/8") as server, opened(server, 1, held + later):
        await until(lambda: server.connections.unfinished.total > 40_000)
        server.connections._workers = OWNER_BODIES_BYTES_MAX // 31_000
        rest = b"Content-Length: 15000\r\n\r\n" + bytes(14_000)
        bodies = [head % (b"/x", b"::%d:0:0:0:0" % number) + rest for number in (2, 3)]
        async with opened(server, 1, bodies[0]), opened(server, 1, bodies[1]):
            await until(lambda: "unavailable" in server.rejected)
            assert server.connections.unfinished["owner", "owner"] == 30_000
            server.resume.set()


async def test_forwarded_addresses_are_not_read_for_each_segment_of_a_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = list[str]()
    client = ClientAddresses.client

    def record(self: ClientAddresses, peer: str, forwarded_for: Sequence[str]) -> str:
        read.extend(forwarded_for)
        return client(self, peer, forwarded_for)

    monkeypatch.setattr(ClientAddresses, "client", record)
    start = POST + b"Content-Length: 200\r\nX-Forwarded-For: ::1\r\n\r\n"
    async with running(NEVER, "127.0.0.0/8") as server, opened(server, 1, start):
        await until(lambda: server.connections.bodies)
        (protocol,) = server.connections.protocols
        for _ in range(100):
            protocol.data_received(b"a")
    assert read.count("::1") < 10


@pytest.mark.bound("http.connections:NETWORK_BODIES_BYTES_MAX", "http.protocol:_HEAD_READ_BYTES")
async def test_bytes_of_pipelined_requests_are_bounded() -> None:
    async with running(NEVER, workers=100) as server:
        waiting = BUSY + NOW * (50_000 // len(NOW))
        async with opened(server, 8, waiting):  # each sends more than one read
            await until(lambda: "too_many_requests" in server.rejected)
            server.resume.set()
        await until(lambda: not server.connections.unfinished.total)


@pytest.mark.bound("http.protocol:_SLICE_BYTES")
@pytest.mark.parametrize(
    "request_",
    [b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n", NOW, POST + CHUNKED + b"2\r\nab\r\n0\r\n\r\n"],
    ids=["no body", "body", "chunked"],
)
async def test_other_clients_are_served_between_pipelined_requests(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    iteration, begun, call = 0, list[int](), Exchange.call

    def next_iteration() -> None:
        nonlocal iteration
        iteration += 1
        if len(begun) < 51:
            loop.call_soon(next_iteration)

    def begin(exchange: Exchange, app: Any) -> None:
        begun.append(iteration)
        call(exchange, app)

    monkeypatch.setattr(Exchange, "call", begin)
    loop = asyncio.get_running_loop()
    next_iteration()
    async with running(NEVER, mode="immediate") as server:
        response = await server.send(request_ * 50 + LAST)
    assert response.count(b"HTTP/1.1 200 ") == 51
    assert len(set(begun)) == 51


@pytest.mark.bound("platform.turns:READ_TURN_S", "platform.turns:SMALL_READ_BYTES")
@repeats_long_iterations
async def test_other_clients_are_served_between_costly_reads() -> None:
    async with running(NEVER) as server:
        streams = [await server.connect() for _ in range(60)]
        for _, writer in streams:
            writer.write(POST + b"Connection: close\r\n" + CHUNKED)
        await until(lambda: len(server.connections.running) == len(streams))
        for _, writer in streams:
            writer.write(b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n")
        responses = asyncio.gather(*(reader.read() for reader, _ in streams))
        await short_iterations(responses)
        assert all(response.endswith(b" 10000") for response in await responses)
        for _, writer in streams:
            writer.close()


@pytest.mark.parametrize("mode", ["task", "waiting"])
@repeats_long_iterations
async def test_other_clients_are_served_between_requests_that_end_at_once(mode: str) -> None:
    head = b"POST /costly HTTP/1.1\r\nHost: a\r\nContent-Length: 17000\r\nConnection: close\r\n\r\n"
    async with running(NEVER, mode=mode) as server, opened(server, 60, head) as readers:
        await until(lambda: len(server.connections.running) == len(readers))
        for protocol in server.connections.protocols:
            protocol.data_received(bytes(17_000))
        responses = asyncio.gather(*(reader.read() for reader in readers))
        await short_iterations(responses)
        assert all(response.endswith(b" 17000") for response in await responses)


@repeats_long_iterations
async def test_other_clients_are_served_between_parts_of_responses() -> None:
    head = b"GET /costly-stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with running(NEVER) as server, opened(server, 60, head) as readers:
        responses = asyncio.gather(*(reader.read() for reader in readers))
        await short_iterations(responses)
        assert all(response.endswith(b"0\r\n\r\n") for response in await responses)


async def test_rejected_clients_do_not_delay_others_of_their_network() -> None:
    head = LAST.replace(b"Host", b"\r\n".join([b"X: " + b"a" * 10_000] * 4) + b"\r\nHost")
    iterations = 0
    async with running(NEVER) as server, opened(server, 100, b"?\r\n" + bytes(250_000)) as readers:
        for reader in readers:
            await reader.readuntil(b"\r\n\r\n")
        response = asyncio.create_task(server.send(head))
        while not response.done():
            iterations += 1
            await asyncio.sleep(0)
        assert (await response).startswith(b"HTTP/1.1 200 OK\r\n")
    assert iterations < 100


@pytest.mark.bound("http.connections:TURN_S")
async def test_networks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TURN_S", 0.0)
    begun, call = list[bytes](), Exchange.call

    def begin(exchange: Exchange, app: Any) -> None:
        begun.append(exchange.values[b"x-forwarded-for"])
        call(exchange, app)

    monkeypatch.setattr(Exchange, "call", begin)
    networks = [b"192.0.2.1"] * 18 + [b"192.0.2.2", b"192.0.2.1"]
    async with running(NEVER, "127.0.0.0/8", "immediate") as server:
        streams = [await server.connect() for _ in networks]
        for network, (_, writer) in zip(networks, streams, strict=True):
            writer.write(LAST.replace(b"Host", b"X-Forwarded-For: " + network + b"\r\nHost"))
        streams[-1][1].close()  # a request of a client that has left does not begin
        for reader, writer in streams[:-1]:
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.close()
    assert begun.index(b"192.0.2.2") <= 2
    assert len(begun) == 19


@pytest.mark.bound("http.protocol:_SLICE_BYTES")
@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"])
async def test_requests_after_a_body_wait_for_earlier_responses(upgrade: bytes) -> None:
    """A read of a body is large, and each slice of it ends in the body of another request."""
    start, end = POST + b"Transfer-Encoding: chunked\r\n" + upgrade, b"0\r\n\r\n"
    request = end + start + b"X: "
    request += b"a" * (_SLICE_BYTES - len(request) - len(_HEAD_END)) + _HEAD_END
    async with running(NEVER) as server, opened(server, 1, start + b"\r\n") as [reader]:
        await until(lambda: server.connections.running)
        (protocol,) = server.connections.protocols
        protocol.data_received(request * 50 + end + LAST)
        assert len(protocol._exchanges) == 2
        assert (await reader.read()).count(b"HTTP/1.1 200 ") == 52


@pytest.mark.bound("http.exchange:_COPIED_BYTES")
@pytest.mark.parametrize(("extra", "writes"), [(-1, 1), (0, 2)])
async def test_large_body_of_a_response_is_not_copied(
    monkeypatch: pytest.MonkeyPatch, extra: int, writes: int
) -> None:
    written: list[bytes] = []
    add = BatchedWrites.add

    def record(self: BatchedWrites, transport: Any, data: bytes) -> None:
        written.append(data)
        add(self, transport, data)

    monkeypatch.setattr(BatchedWrites, "add", record)
    path = b"/" + b"a" * (_COPIED_BYTES - len("/ 0") + extra)
    async with running(NEVER, mode="immediate") as server:
        response = await server.send(
            b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path
        )
    assert response.endswith(path + b" 0")
    assert len(written) == writes


async def test_head_of_an_upgrade_does_not_count_after_it_was_received(patient: Running) -> None:
    connections = patient.connections
    start = b"GET /unread HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000
    async with patient.connection(start) as (_, writer):
        await until(lambda: connections.unfinished.total > 0)
        writer.write(b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await until(lambda: connections.running)
        assert connections.unfinished.total == 0


async def test_connection_is_freed_after_an_error_without_garbage_collection(
    patient: Running,
) -> None:
    async with freed_connections():
        await patient.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: |\r\n\r\n")


@asynccontextmanager
async def freed_connections(kind: type = HttpProtocol) -> AsyncIterator[None]:
    """The objects of the block with this type are freed without garbage collection."""
    gc.collect()
    gc.disable()
    before = _number_of(kind)
    try:
        yield
        await until(lambda: _number_of(kind) <= before)
    finally:
        gc.enable()


def _number_of(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())


@pytest.mark.bound("request_timeout_s")
async def test_body_that_stops_after_many_bytes_is_408(hasty: Running) -> None:
    """The time for a body does not grow with the bytes that were received before."""
    head = POST + b"Content-Length: 2000000\r\n\r\n"
    async with hasty.connection(head + b"x" * 1_000_000) as (reader, _):
        assert code_of(await reader.read()) == (408, "request_timeout")


@pytest.mark.bound(
    "http.connections:BODY_PARTS_BYTES_MAX",
    "http.connections:PART_BYTES",
    "http.exchange:_WAITING_BYTES_MAX",
    "http.exchange:_PARTS_MAX",
)
@pytest.mark.parametrize(
    ("framing", "data", "bodies", "bytes_max"),
    [
        (b"Content-Length: 5000000\r\n\r\n", bytes(5_000_000), 0, 65_536 + 131_072),
        (b"Content-Length: 5000000\r\n\r\n", bytes(5_000_000), 1600, 2 * 20_972),
        (b"Content-Length: 5000000\r\n\r\n", bytes(5_000_000), 9999, 2 * 16_384),
        (CHUNKED, b"2\r\nab\r\n" * 100_000 + b"0\r\n\r\n", 0, 65_536 + 131_072),
    ],
)
async def test_body_that_the_application_does_not_read_is_bounded(
    framing: bytes, data: bytes, bodies: int, bytes_max: int
) -> None:
    head = b"POST /unread HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + framing
    async with running(NEVER) as server:
        server.connections.bodies_total = bodies
        response = asyncio.create_task(server.send(head + data))
        await until(
            lambda: any(each.transport.read_paused for each in server.connections.protocols)
        )
        (connection,) = server.connections.protocols
        assert connection._receiving.waiting_bytes <= bytes_max
        assert len(connection._receiving._parts) <= _PARTS_MAX
        server.resume.set()
        assert (await response).endswith(
            b"/unread %d" % (200_000 if framing == CHUNKED else len(data))
        )


async def test_parts_of_a_response_are_sent_without_delay() -> None:
    """asyncio does not disable Nagle's algorithm for sockets that are passed to it."""
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    sock = listen("127.0.0.1", 0)
    async with await asyncio.start_server(lambda _, writer: accepted.put_nowait(writer), sock=sock):
        _, client = await asyncio.open_connection(*sock.getsockname()[:2])
        server = await accepted.get()
        assert (
            server.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        )
        for writer in (client, server):
            writer.close()
