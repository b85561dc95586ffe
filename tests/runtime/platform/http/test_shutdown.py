"""A stopping server: no request that a client has sent is lost."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
from gatehouse.platform.http.protocol import _FIRST_BYTES_MAX
from gatehouse.platform.http.server import Server
from gatehouse.platform.settings import ConnectionSettings

from tests.runtime.platform.http.test_protocol import MODES, PATIENCE_S, POST, Running, running
from tests.runtime.waiting import until

LIMITS = ConnectionSettings(
    request_timeout_s=600, response_timeout_s=600, drain_s=600, stop_timeout_s=600
)
GET = b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n"
READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"


class LateServer(Server):
    """A client connects and sends a request after the server has last accepted connections."""

    late: socket.socket

    async def _accept_last(self, sockets: Sequence[socket.socket]) -> None:
        self.late = socket.create_connection(sockets[0].getsockname(), timeout=PATIENCE_S)
        self.late.sendall(GET)
        self.late.setblocking(False)
        await super()._accept_last(sockets)


#: A request that begins before its body has been received, without the last byte.
SIZE = _FIRST_BYTES_MAX + 1
UNFINISHED = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE
UNFINISHED += b"a" * (SIZE - 1)


@pytest.fixture(params=MODES)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(LIMITS, mode=request.param) as started:
        yield started


async def drain(server: Running) -> None:
    server.server.stop(signal.SIGTERM)
    await until(lambda: server.connections.draining)


async def response(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    async with asyncio.timeout(PATIENCE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        return head, await reader.readexactly(int(length))


async def test_draining_server_is_not_ready_but_responds(server: Running) -> None:
    await drain(server)
    head, _, body = (await server.send(READY)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert body == b'{"status":"unavailable","checks":{"server":"unavailable"}}'
    head, _, body = (await server.send(GET)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in head
    assert body == b"/now 0"


async def test_idle_connections_receive_one_more_response(server: Running) -> None:
    connections = [await server.connect() for _ in range(3)]
    for reader, writer in connections:
        for _ in range(3):  # the head of the third request is not parsed again
            writer.write(GET)
            assert b"connection: close" not in (await response(reader))[0]
    await drain(server)
    for reader, writer in connections:
        writer.write(GET)
        assert b"connection: close" in (await response(reader))[0]
        assert await reader.read() == b""
        writer.close()


async def test_every_pipelined_request_is_answered(server: Running) -> None:
    await drain(server)
    answer = await server.send(GET + POST + b"Content-Length: 2\r\n\r\nab" + GET)
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert answer.count(b"connection: close") == 1
    assert answer.endswith(b"/now 0")


@pytest.mark.bound("http.protocol:_FIRST_BYTES_MAX")
async def test_response_to_a_request_in_progress_closes_the_connection(server: Running) -> None:
    reader, writer = await server.connect()
    writer.write(UNFINISHED)
    await until(lambda: server.connections.running)
    await drain(server)
    writer.write(b"b")
    head, body = await response(reader)
    assert (b"connection: close" in head, body) == (True, b"/body %d" % SIZE)
    writer.close()


@pytest.mark.parametrize("first", [b"", GET], ids=["new", "used"])
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (b"GET /now HTTP/1.1\r\nHo", b"st: a\r\n\r\n"),
        (b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na", b"b"),
    ],
    ids=["head", "body"],
)
async def test_request_that_arrives_in_parts_is_answered_after_the_drain_time(
    server: Running, first: bytes, begin: bytes, end: bytes
) -> None:
    reader, writer = await server.connect()
    if first:
        writer.write(first)
        await response(reader)
    writer.write(begin)
    idle_reader, idle_writer = await server.connect()
    await server.send(GET[:-2] + b"Connection: close\r\n\r\n")  # the server has read `begin`
    await drain(server)
    server.server.stop(signal.SIGINT)
    async with asyncio.timeout(PATIENCE_S):
        assert await idle_reader.read() == b""  # closed, while the other connection is open
    writer.write(end)
    assert b"connection: close" in (await response(reader))[0]
    writer.close()
    idle_writer.close()


async def test_connection_that_the_kernel_has_established_is_answered() -> None:
    async with running(LIMITS, kind=LateServer) as server:
        await drain(server)
        server.server.stop(signal.SIGINT)
        await until(lambda: hasattr(server.server, "late"))
        assert isinstance(server.server, LateServer)
        reader, writer = await asyncio.open_connection(sock=server.server.late)
        assert (await response(reader))[1] == b"/now 0"
        writer.close()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
                await _connect_forever(server)


@pytest.mark.bound("stop_timeout_s")
async def test_request_in_progress_is_aborted_after_the_stop_timeout() -> None:
    limits = ConnectionSettings.model_construct(
        request_timeout_s=600, response_timeout_s=600, drain_s=0, stop_timeout_s=0.1
    )
    async with running(limits) as server:
        reader, writer = await server.connect()
        writer.write(UNFINISHED)
        await until(lambda: server.connections.running)
        server.server.stop(signal.SIGTERM)
        try:
            async with asyncio.timeout(PATIENCE_S):
                assert (await reader.read()).startswith(b"HTTP/1.1 500 ")
        finally:
            writer.close()


async def _connect_forever(server: Running) -> None:
    while True:
        (await server.connect())[1].close()
