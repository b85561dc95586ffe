"""Connections to Cores that send exact bytes."""

import asyncio
import ipaddress
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest
import uvloop
from gatehouse.core.errors import BadRequest, CoreOverloaded, CoreTimeout, CoreUnreachable
from gatehouse.platform import executions, tls_records
from gatehouse.platform.batched_writes import BatchedWrites
from gatehouse.platform.http.listening import UNSENT_BYTES
from gatehouse.platform.http.tls import self_signed_context
from gatehouse.platform.http_client import connections
from gatehouse.platform.http_client import upstream as upstreams
from gatehouse.platform.http_client.connections import READ_BYTES, Connection
from gatehouse.platform.http_client.upstream import (
    Sending,
    SystemResolver,
    UpstreamClients,
    UpstreamRequest,
    UpstreamResponse,
)
from gatehouse.platform.turns import SMALL_READ_BYTES, Reads
from hypothesis import given
from hypothesis import strategies as st

from tests.certificates import server_context
from tests.runtime.iterations import repeats_long_iterations, short_iterations
from tests.runtime.platform.http.test_protocol import freed_connections
from tests.runtime.silent_servers import full_server
from tests.runtime.waiting import until

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
PATIENCE_S = 60
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Resolver:
    async def addresses(self, host: str, port: int, subject: str = "") -> tuple[str, ...]:
        return ("127.0.0.1",)


@dataclass
class Core:
    response: bytes = OK
    close: bool = False
    port: int = 0
    opened: int = 0
    ended: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    after: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    clients: UpstreamClients = field(default_factory=lambda: upstream_clients())
    scheme: str = "http"
    is_sent: bool = False

    @property
    def url(self) -> str:
        return f"{self.scheme}://core.test:{self.port}"

    def send(self, sent: UpstreamRequest | None = None) -> Sending:
        return self.clients.send(self.url, sent or request())

    async def fetch(self, sent: UpstreamRequest | None = None) -> tuple[int, list[str], bytes]:
        sending = self.send(sent)
        try:
            async with asyncio.timeout(PATIENCE_S), sending as response:
                names = [name for name, _ in response.headers]
                return response.status, names, await response.read_all()
        finally:
            self.is_sent = sending.is_sent

    async def until_closed(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.closed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                length = next(
                    (
                        int(line[15:])
                        for line in head.split("\r\n")
                        if line.startswith("content-length:")
                    ),
                    0,
                )
                self.bodies.append(await reader.readexactly(length))
                writer.write(self.response)
                await writer.drain()
                if self.after is not None:
                    await self.after(reader, writer)
                if self.close or not self.response:
                    break
        except (asyncio.IncompleteReadError, ConnectionResetError, asyncio.CancelledError):
            pass
        finally:
            self.ended += 1
            self.closed.set()
            writer.close()


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    server = Core()
    async with listening(server):
        yield server
    await server.clients.close()


@asynccontextmanager
async def listening(core: Core, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    server = await asyncio.start_server(core.serve, "127.0.0.1", 0, ssl=context)
    core.port = server.sockets[0].getsockname()[1]
    yield
    server.close()


def upstream_clients() -> UpstreamClients:
    return UpstreamClients(Resolver(), LOOPBACK)  # type: ignore[arg-type]


@pytest.fixture
async def clients() -> AsyncIterator[UpstreamClients]:
    upstream = upstream_clients()
    yield upstream
    await upstream.close()


def request(
    method: str = "GET", body: bytes | AsyncIterator[bytes] | None = None, **headers: str
) -> UpstreamRequest:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if isinstance(body, bytes):
        fields.append(("content-length", str(len(body))))
    return UpstreamRequest(method, "/x?y=z", fields, body)


def sized(length: str, body: bytes | AsyncIterator[bytes]) -> UpstreamRequest:
    return UpstreamRequest("POST", "/", [("content-length", length)], body)


def hasty() -> UpstreamRequest:
    return msgspec.structs.replace(request(), timeout_s=0.2)


async def test_request_is_sent_unchanged(core: Core) -> None:
    assert await core.fetch(request("POST", b"body", x_a="1")) == (
        200,
        ["content-length"],
        b"hello",
    )
    assert core.heads == [
        f"POST /x?y=z HTTP/1.1\r\nhost: core.test:{core.port}\r\nx-a: 1\r\n"
        "content-length: 4\r\n\r\n"
    ]
    assert core.bodies == [b"body"]


async def test_body_in_the_response_to_head_is_discarded(core: Core) -> None:
    for _ in range(2):
        assert await core.fetch(request("HEAD")) == (200, ["content-length"], b"")
    assert core.opened == 2


@pytest.mark.parametrize("value", ["a\r\nx-b: 1", "a\nx-b: 1", "a\0", "café"])
async def test_header_that_cannot_be_sent_is_rejected(core: Core, value: str) -> None:
    with pytest.raises(BadRequest):
        await core.fetch(request(x_a=value))
    assert core.heads == []


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n", b"abcde"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
            b"hello",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (LENGTH % 0, b""),
    ],
    ids=["chunked", "informational", "204", "304", "empty"],
)
async def test_framing(core: Core, response: bytes, body: bytes) -> None:
    core.response = response
    for _ in range(2):
        status, names, received = await core.fetch()
        assert (received, "link" in names, "trailer" in names) == (body, False, False)
    assert (status, core.opened) == (int(response.rpartition(b"HTTP/1.1 ")[2][:3]), 1)


class Received(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    is_complete: bool
    has_failed: bool
    is_reusable: bool


class MemoryTransport(asyncio.Transport):
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass


def receive(connection: Connection, method: str, parts: list[bytes]) -> Received:
    connection.start(method, b"", None, timeout_s=PATIENCE_S)
    for part in parts:
        if not connection.is_complete and connection._error is None:
            connection.get_buffer(len(part))[: len(part)] = part
            connection.buffer_updated(len(part))
    received = (
        connection.status,
        connection.headers,
        connection.take(),
        connection.is_complete,
        (connection._error is not None),
    )
    return Received(*received, is_reusable=connection.end())


HEADS = [
    LENGTH,
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0%d\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Length: 1\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: %d\n\n",
]
RESPONSES = st.tuples(
    st.sampled_from(["GET", "GET", "HEAD"]),
    st.builds(
        lambda head, size, body: (head % size) + body,
        st.sampled_from(HEADS),
        st.sampled_from([0, 2, 4]),
        st.sampled_from([b"", b"ab", b"abcd", b"\r\n\r\n", b"0\r\n\r\n"]),
    ),
    st.sampled_from([1 << 20, 20, 45]),
)


@given(st.lists(RESPONSES, min_size=2, max_size=5))
async def test_used_connection_reads_a_response_like_a_new_connection(
    responses: list[tuple[str, bytes, int]],
) -> None:
    used = Connection(BatchedWrites(), Reads(READ_BYTES))
    used.connection_made(MemoryTransport())
    for method, response, size in responses:
        new = Connection(BatchedWrites(), Reads(READ_BYTES))
        new.connection_made(MemoryTransport())
        parts = [response[start : start + size] for start in range(0, len(response), size)]
        expected = receive(new, method, parts)
        assert receive(used, method, parts) == expected
        if not expected.is_reusable:
            return


async def test_connection_of_a_complete_response_takes_no_turn() -> None:
    reads, head = Reads(READ_BYTES), LENGTH % (READ_BYTES - len(LENGTH % READ_BYTES))
    reads._turns.wait("other", bool)
    connection = Connection(BatchedWrites(), reads)
    connection.connection_made(MemoryTransport())
    assert receive(connection, "GET", [head.ljust(READ_BYTES)]).is_complete
    assert list(reads._turns.waiting) == ["other"]


async def test_response_that_is_not_read_does_not_delay_the_next_one(core: Core) -> None:
    core.response = LENGTH % 5 + b"other"
    async with asyncio.timeout(PATIENCE_S), core.send():
        (pinned,) = core.clients._pinned.values()
        (connection,) = pinned.pool._in_use
        await until(lambda: connection.is_complete)
    core.response = OK
    assert (await core.fetch())[2] == b"hello"
    assert core.opened == 1


async def test_length_is_returned_in_one_form(core: Core) -> None:
    core.response = b"HTTP/1.1 200 OK\r\nContent-Length: 05 \r\n\r\nhello"
    async with asyncio.timeout(PATIENCE_S), core.send() as response:
        assert (response.headers, await response.read_all()) == (
            [("content-length", "5")],
            b"hello",
        )


async def test_body_can_end_with_the_connection(core: Core) -> None:
    core.response, core.close = b"HTTP/1.1 200 OK\r\n\r\nhello", True
    assert [(await core.fetch())[2] for _ in range(2)] == [b"hello"] * 2
    assert core.opened == 2


@pytest.mark.bound(
    "http_client.connections:RESPONSE_HEADERS_MAX",
    "http_client.connections:RESPONSE_HEAD_BYTES_MAX",
    "http.request_head:LENGTH_DIGITS_MAX",
    "http_client.connections:_FRAMING_BYTES_MAX",
)
@pytest.mark.parametrize(
    "response",
    [
        LENGTH % 50 + b"hello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"0" * 5_000 + b"5\r\n\r\nhello",
        CHUNKED + b"hello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: " + b"a" * 70_000 + b"\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 300 + b"Content-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 \r\n\r\n" * 20_000 + OK,
        b"HTTP/1.1 099 \r\nContent-Length: 1\r\n\r\na" + OK,
        CHUNKED + b"1;" + b"a" * 300_000 + b"\r\na\r\n0\r\n\r\n",
        CHUNKED + b"1\r\na\r\n0\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"SSH-2.0-server\r\n",
        b"",
    ],
    ids=[
        "short",
        "short-close",
        "no-last-chunk",
        "two-framings",
        "two-lengths",
        "long-length",
        "bad-chunk",
        "101",
        "long",
        "many",
        "interim",
        "below-100",
        "extension",
        "trailers",
        "lf",
        "ssh",
        "eof",
    ],
)
async def test_invalid_or_incomplete_response_is_an_error(core: Core, response: bytes) -> None:
    core.response, core.close = response, True
    with pytest.raises(CoreUnreachable):
        await core.fetch()
    assert core.is_sent
    core.response, core.close = OK, False
    assert (await core.fetch())[2] == b"hello"


async def test_connection_with_more_than_one_response_is_not_reused(core: Core) -> None:
    core.response = OK + LENGTH % 4 + b"evil"
    for _ in range(3):
        assert (await core.fetch())[2] == b"hello"
    assert core.opened == 3


async def test_idle_connection_that_the_core_closes_is_replaced(core: Core) -> None:
    core.close = True
    for number in range(3):
        core.closed.clear()
        assert (await core.fetch())[2] == b"hello"
        await core.closed.wait()
        await until(
            lambda: not any(each.is_open for each in core.clients._pinned[core.url].pool._idle)
        )
        assert core.opened == number + 1


async def test_core_that_is_down_received_nothing(core: Core) -> None:
    free = Core(clients=core.clients)
    async with listening(free):
        pass
    with pytest.raises(CoreUnreachable):
        await free.fetch()
    assert not free.is_sent


@pytest.mark.bound("http_client.connections:CONNECT_TIMEOUT_S")
async def test_core_that_accepts_no_connection_is_unreachable(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.2)
    with full_server() as port:
        core.port = port
        with pytest.raises(CoreUnreachable):
            await core.fetch()
    assert not core.is_sent


@pytest.mark.bound("http_client.connections:IDLE_MAX")
async def test_idle_connections_are_bounded(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_MAX", 5)
    for number in range(7):
        url = f"{core.url}/{number // 2}"
        async with (
            core.clients.send(url, request()) as first,
            core.clients.send(url, request()) as second,
        ):
            assert [await first.read_all(), await second.read_all()] == [b"hello"] * 2
    idle = [len(pinned.pool._idle) for pinned in core.clients._pinned.values()]
    assert (core.opened, idle) == (8, [1, 1, 1, 2])


@pytest.mark.bound("http_client.connections:IDLE_S")
@pytest.mark.parametrize("path", ["", "/other"])
async def test_old_idle_connection_is_closed(core: Core, path: str) -> None:
    await core.fetch()
    (connection,) = core.clients._pinned[core.url].pool._idle
    connection.idle_since -= connections.IDLE_S
    async with core.clients.send(core.url + path, request()) as response:
        assert response.status == 200
    assert (core.opened, connection.is_open) == (2, False)


class NameServer:
    """Stands for getaddrinfo. Names that begin with `silent` get no response until `release`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.error: OSError | None = None
        self.release = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)
        monkeypatch.setattr(upstreams, "RESOLVE_TIMEOUT_S", 0.1)

    def look_up(
        self, host: str, port: int, *_: object, **__: object
    ) -> Sequence[tuple[object, ...]]:
        self.names.append(host)
        if host.startswith("silent"):
            self.release.wait()
        if self.error is not None:
            raise self.error
        hosts = [f"127.0.0.{number + 1}" for number in range(100 if host == "many.test" else 1)]
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (each, port)) for each in [*hosts, *hosts]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer(monkeypatch)
    yield server
    server.release.set()


@pytest.mark.bound("http_client.upstream:RESOLVE_TIMEOUT_S")
async def test_name_that_does_not_resolve_in_time_is_unreachable(names: NameServer) -> None:
    upstream = UpstreamClients(SystemResolver(), LOOPBACK)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(CoreUnreachable):
            async with upstream.send("http://silent.test:80", request()):
                pass


@pytest.mark.bound("http_client.upstream:ADDRESSES_MAX")
async def test_addresses_of_a_name_are_bounded(names: NameServer) -> None:
    found = await SystemResolver().addresses("many.test", 80)
    assert found == tuple(f"127.0.0.{number + 1}" for number in range(upstreams.ADDRESSES_MAX))


@pytest.mark.bound("http_client.upstream:LOOKUPS_MAX", "http_client.upstream:SUBJECT_LOOKUPS_MAX")
async def test_names_without_a_response_do_not_delay_others(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "LOOKUPS_MAX", 20)
    resolver = SystemResolver()
    silent = [f"silent-{number % 19}.test" for number in range(100)]
    monkeypatch.setattr(upstreams, "SUBJECT_LOOKUPS_MAX", 10)
    first = [resolver.addresses(name, 80, "a") for name in silent]
    second = [resolver.addresses(name, 80, "b") for name in silent]
    assert {*await asyncio.gather(*first, *second)} == {None}
    assert len(names.names) == 19
    monkeypatch.setattr(upstreams, "RESOLVE_TIMEOUT_S", PATIENCE_S)
    assert await resolver.addresses("core.test", 80) == ("127.0.0.1",)
    last = asyncio.create_task(resolver.addresses("silent-last.test", 80))
    await asyncio.sleep(0)
    assert await resolver.addresses("core.test", 80) is None
    assert await resolver.addresses("127.0.0.1", 80) == ("127.0.0.1",)
    names.release.set()
    assert await last == ("127.0.0.1",)
    assert await resolver.addresses("core.test", 80) == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("error", "is_reachable"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "temporary failure"), True),
        (socket.gaierror(socket.EAI_NONAME, "not known"), False),
    ],
)
async def test_checked_address_is_used_while_the_name_server_fails(
    names: NameServer, core: Core, error: OSError, is_reachable: bool
) -> None:
    core.clients = upstream = UpstreamClients(SystemResolver(), LOOPBACK)
    assert (await core.fetch())[0] == 200
    upstream._pinned[core.url].checked_at -= upstreams.PIN_S
    names.error = error
    if is_reachable:
        assert [(await core.fetch())[0] for _ in range(2)] == [200] * 2
    else:
        with pytest.raises(CoreUnreachable):
            await core.fetch()
    assert len(names.names) == 2


async def test_requests_that_resolve_a_name_at_the_same_time_share_a_pool(
    names: NameServer, core: Core
) -> None:
    core.clients = upstream = UpstreamClients(SystemResolver(), LOOPBACK)
    await asyncio.gather(*(core.fetch() for _ in range(5)))
    assert (len(names.names), len(upstream._retired)) == (1, 0)


async def test_silent_core_is_a_timeout(core: Core) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    core.response, core.after = LENGTH % 50 + b"hello", wait
    with pytest.raises(CoreTimeout):
        await core.fetch(hasty())
    await core.until_closed()


async def test_slow_client_is_no_timeout_of_the_core(core: Core) -> None:
    core.response = LENGTH % 20_000_000 + bytes(20_000_000)

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    silent = Core(LENGTH % 50, after=wait, clients=core.clients)
    async with listening(silent), asyncio.timeout(PATIENCE_S), core.send(hasty()) as response:
        for _ in range(2):  # each takes as long as the read timeout, while nothing is read
            with pytest.raises(CoreTimeout):
                await silent.fetch(hasty())
        assert len(await response.read_all()) == 20_000_000


@pytest.mark.bound("http_client.connections:_PARTS_MAX")
async def test_small_chunks_are_read_in_small_parts(core: Core) -> None:
    number = 100_000
    core.response = CHUNKED + b"1\r\na\r\n" * number + b"0\r\n\r\n"
    async with asyncio.timeout(PATIENCE_S), core.send() as response:
        assert len(response._chunks) <= 1
        sizes = [len(part) async for part in parts_of(response)]
    assert sum(sizes) == number
    first = next(index for index, size in enumerate(sizes) if size >= connections._PARTS_MAX)
    chunks_max = connections._PARTS_MAX + SMALL_READ_BYTES // 6 + 1
    assert sizes[first] <= READ_BYTES
    assert max(sizes[first + 1 :]) <= chunks_max


@repeats_long_iterations
async def test_clients_are_served_between_costly_reads_of_responses(core: Core) -> None:
    core.response = CHUNKED + b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n"
    responses = asyncio.gather(*(core.fetch() for _ in range(60)))
    await short_iterations(responses)
    assert {len(body) for _, _, body in await responses} == {10_000}


async def parts_of(response: UpstreamResponse) -> AsyncIterator[bytes]:
    while (part := await response.read()) is not None:
        yield part


@pytest.mark.bound("http_client.connections:READ_BYTES")
async def test_response_that_is_not_read_is_bounded(core: Core) -> None:
    core.response = LENGTH % 50_000_000 + bytes(50_000_000)
    async with asyncio.timeout(PATIENCE_S), core.send() as response:
        size = 0
        while (part := await response.read()) is not None:
            size += len(part)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(part) + response._waiting_bytes <= READ_BYTES
    assert size == 50_000_000


async def test_streamed_body_is_chunked_or_has_its_length(core: Core) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"de"

    async def rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core.bodies.append(await reader.readuntil(b"0\r\n\r\n"))

    assert (await core.fetch(sized("5", parts())))[0] == 200
    assert core.bodies == [b"abcde"]
    core.after = rest
    assert (await core.fetch(request("POST", parts())))[0] == 200
    await until(lambda: len(core.bodies) >= 3)
    assert "transfer-encoding: chunked\r\n" in core.heads[1]
    assert core.bodies[2] == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    for length in "46":
        with pytest.raises(BadRequest):
            await core.fetch(sized(length, parts()))


async def test_body_is_taken_as_fast_as_the_core_reads(core: Core) -> None:
    waits, size = [], 20_000_000

    async def parts() -> AsyncIterator[bytes]:
        (connection,) = core.clients._pinned[core.url].pool._in_use
        transport = connection._transport
        assert transport is not None
        assert transport.get_write_buffer_limits() == (0, 0)
        if sys.platform == "linux":
            unsent = transport.get_extra_info("socket").getsockopt(
                socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT
            )
            assert unsent == UNSENT_BYTES
        for _ in range(20):
            waits.append(connection._writable is not None)
            yield bytes(size // 20)

    assert (await core.fetch(sized(str(size), parts())))[0] == 200
    assert (len(core.bodies[0]), waits) == (size, [False] * 20)


async def test_response_before_the_end_of_the_body_closes_the_connection(core: Core) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"abc"
            await asyncio.Event().wait()
        finally:
            ended.set()

    assert (await core.fetch(request("POST", endless())))[2] == b"hello"
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    await core.until_closed()


async def test_connection_whose_core_does_not_read_is_not_reused(core: Core) -> None:
    core.after = lambda *_: asyncio.Event().wait()  # type: ignore[assignment]
    assert (await core.fetch(sized("0", bytes(20_000_000))))[2] == b"hello"
    assert not core.clients._pinned[core.url].pool._idle


class GoneError(Exception):
    pass


async def until_end(reader: asyncio.StreamReader, _: object) -> None:
    await reader.read()


async def broken() -> AsyncIterator[bytes]:
    yield b"abc"
    raise GoneError


async def test_error_of_a_streamed_body_ends_the_request(core: Core) -> None:
    core.response = LENGTH % 50 + b"hello"
    core.after = until_end
    with pytest.raises(GoneError):
        await core.fetch(request("POST", broken()))
    await core.until_closed()


@pytest.mark.parametrize("upload", [False, True])
async def test_connection_is_freed_without_garbage_collection(core: Core, upload: bool) -> None:
    core.response = LENGTH % 50 + b"hello"
    core.after = until_end
    async with freed_connections(Connection):
        with suppress(GoneError):
            async with core.send():
                if upload:
                    await core.fetch(request("POST", broken()))


async def test_cancelled_request_closes_its_connection(core: Core) -> None:
    core.response = b"HTTP/1.1 200 OK\r\n"
    core.after = until_end
    task = asyncio.create_task(core.fetch())
    async with asyncio.timeout(PATIENCE_S):
        await until(lambda: core.heads)
        task.cancel()
        await core.closed.wait()


@pytest.mark.parametrize(
    "response", [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), LENGTH % 9]
)
async def test_connection_that_is_not_reused_leaves_its_port_to_others(
    core: Core, response: bytes
) -> None:
    ends = asyncio.Queue[object]()

    async def read(reader: asyncio.StreamReader, _: object) -> None:
        ends.put_nowait((await asyncio.gather(reader.read(), return_exceptions=True))[0])

    core.response, core.after = response, read
    async with core.send():
        pass
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await ends.get(), ConnectionResetError)  # not FIN, after which it waits


async def test_replaced_pool_serves_the_requests_in_progress(core: Core) -> None:
    core.response = LENGTH % 20_000_000 + bytes(20_000_000)
    async with asyncio.timeout(PATIENCE_S), core.send() as response:
        core.clients.forget(core.url)
        assert len(await response.read_all()) == 20_000_000
    await core.until_closed()


@pytest.mark.bound("http_client.upstream:POOLS_MAX")
async def test_number_of_urls_with_a_pool_is_bounded(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "POOLS_MAX", 2)
    async with asyncio.timeout(PATIENCE_S), core.send() as response:
        for number in range(5):
            async with core.clients.send(f"{core.url}/{number}", request()) as other:
                assert await other.read_all() == b"hello"
        assert [*core.clients._pinned] == [f"{core.url}/3", f"{core.url}/4"]
        assert await response.read_all() == b"hello"
        await until(lambda: core.opened - core.ended <= 3)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    context = server_context(tmp_path, "core.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    connections._tls_context.cache_clear()
    yield context
    connections._tls_context.cache_clear()


@pytest.mark.parametrize("limited", [True, False])
async def test_tls_verifies_the_name_at_the_checked_address(
    clients: UpstreamClients,
    certificate: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    limited: bool,
) -> None:
    core = Core(clients=clients, scheme="https")
    if not limited:  # as with a Python that does not call it
        monkeypatch.delattr(tls_records.LimitedTls, "_create")
    async with listening(core, certificate), asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            assert (await core.fetch())[2] == b"hello"
        assert core.opened == 1
        with pytest.raises(CoreUnreachable):
            async with clients.send(f"https://other.test:{core.port}", request()):
                pass


@pytest.mark.parametrize("create", [connections._tls_context, self_signed_context])
def test_peer_cannot_choose_a_costly_key_exchange(create: Callable[[], ssl.SSLContext]) -> None:
    context = create()
    exchanges = {str(cast("Any", suite)["kea"]) for suite in context.get_ciphers()}
    assert exchanges <= {"kx-any", "kx-ecdhe"}  # kx-any: TLS 1.3
    assert context.options & ssl.OP_NO_RENEGOTIATION
    if create is connections._tls_context:
        sent = ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="core.test").do_handshake()
        assert b"\x01\x03\x01\x04" not in sent.read()  # the groups ffdhe6144 and ffdhe8192


@pytest.mark.bound("platform.tls_records:_RECORDS_MAX")
async def test_tls_records_without_data_are_bounded(
    clients: UpstreamClients, certificate: ssl.SSLContext
) -> None:
    certificate.num_tickets = tls_records._RECORDS_MAX + 1
    core = Core(clients=clients, scheme="https")
    async with listening(core, certificate):
        with pytest.raises(CoreUnreachable):
            await core.fetch()
        assert core.is_sent
    assert self_signed_context().sslobject_class is tls_records.LimitedTls


@pytest.mark.bound("http_client.upstream:HANDSHAKES_MAX")
@pytest.mark.parametrize(
    ("senders", "paths", "opened"), [("abcd", "1111", 2), ("aaaa", "1234", 2), ("abab", "1234", 4)]
)
async def test_handshakes_of_a_subject_are_bounded(
    core: Core, monkeypatch: pytest.MonkeyPatch, senders: str, paths: str, opened: int
) -> None:
    monkeypatch.setattr(upstreams, "HANDSHAKES_MAX", 2)
    monkeypatch.setattr(executions, "SLOT_TIMEOUT_S", 0)

    async def fetch(subject: str, sender: str, path: str) -> None:
        sent = msgspec.structs.replace(request(), sender=sender)
        async with core.clients.send(f"https://core.test:{core.port}/{path}", sent, subject):
            pass

    async with asyncio.timeout(PATIENCE_S):  # the Core has no TLS, and waits for a request
        requests = [
            (*each, path) for each, path in zip(product("xy", senders), 2 * paths, strict=True)
        ]
        fetching = [asyncio.create_task(fetch(*each)) for each in requests]
        while core.opened + len(ended := [each for each in fetching if each.done()]) < 8:
            await asyncio.sleep(0)
        # The others have waited too long, which is no failure of the Core.
        assert {type(each.exception()) for each in ended} == {CoreOverloaded}
        assert core.opened == opened
        for task in fetching:
            task.cancel()
        await asyncio.wait(fetching)


@pytest.mark.bound("http_client.upstream:SUBJECT_STEPS_MAX")
async def test_costly_handshakes_leave_the_worker_to_others(
    clients: UpstreamClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, complete = list[object](), threading.Event()

    def slow(tls: ssl.SSLObject) -> tuple[OSError, float]:
        begun.append(tls)
        assert complete.wait(PATIENCE_S)
        return OSError(), 9.0

    monkeypatch.setattr(tls_records, "_step", slow)
    core, other = Core(clients=clients, scheme="https"), Core(clients=clients)

    async def fetch(path: int) -> None:
        async with clients.send(f"https://core.test:{core.port}/{path}", request(), "key"):
            pass

    async with listening(other), listening(core), asyncio.timeout(PATIENCE_S):
        number = upstreams.SUBJECT_STEPS_MAX
        fetching = [asyncio.create_task(fetch(path)) for path in range(number + 1)]
        await until(lambda: len(begun) == number)
        assert (await other.fetch())[2] == b"hello"
        assert len(begun) == number
        complete.set()
        await asyncio.wait(fetching)
        assert len(begun) == number + 1
        for path in range(number + 1):
            fetching.append(asyncio.create_task(fetch(path)))
        await until(lambda: core.opened == 2 * (number + 1))
        for _ in range(9):
            await asyncio.sleep(0)
        assert len(begun) == number + 1  # the next steps of these URLs have to wait
        for each in fetching:
            each.cancel()


@pytest.mark.bound("platform.tls_records:_RECORD_BYTES")
@pytest.mark.parametrize("size", [10_000, 20_000])
async def test_size_of_a_chain_of_certificates_is_bounded(
    clients: UpstreamClients, certificate: ssl.SSLContext, tmp_path: Path, size: int
) -> None:
    pem = (tmp_path / "certificate.pem").read_text()
    chain, number = tmp_path / "chain.pem", size // len(ssl.PEM_cert_to_DER_cert(pem))
    chain.write_text(pem * number)
    certificate.load_cert_chain(chain, tmp_path / "key.pem")
    core = Core(clients=clients, scheme="https")
    async with listening(core, certificate):
        with suppress(CoreUnreachable):
            await core.fetch()
    assert len(core.heads) == (size < 16_384)


@pytest.mark.bound("platform.tls_records:_TURN_RECORDS")
async def test_others_are_served_between_tls_records(
    clients: UpstreamClients, certificate: ssl.SSLContext
) -> None:
    core, sizes = Core(LENGTH % 2000, clients=clients, scheme="https"), []

    async def after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2000):
            writer.write(b"x")

    core.after = after
    async with listening(core, certificate), asyncio.timeout(PATIENCE_S), core.send() as response:
        while part := await response.read():
            sizes.append(len(part))
    assert (sum(sizes), max(sizes) <= 128) == (2000, True)


class Upgraded(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.complete = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"end"):
            self.complete.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


UPGRADE = UpstreamRequest("GET", "/", [], None, upgrade=True)


async def upgrade(scheme: str, context: ssl.SSLContext | None) -> tuple[bytes, bytes, int]:
    """Data beside the 101 response, data after it, and connections after another request."""
    server = Core(SWITCHING + b"early", scheme=scheme)

    async def after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4) + b", end")

    server.after = after
    protocol = Upgraded()
    async with listening(server, context), asyncio.timeout(PATIENCE_S):
        async with server.send(UPGRADE) as response:
            assert response.status == 101
            early = response.upgrade(protocol)
            protocol.transport.write(b"ping")
            protocol.transport.resume_reading()
            await protocol.complete.wait()
        await protocol.lost.wait()
        server.response, server.after = OK, None
        assert (await server.fetch())[2] == b"hello"
        for size in (20_000, 1_000_000):
            server.response = LENGTH % size + bytes(size)
            assert (await server.fetch())[2] == bytes(size)
        await server.clients.close()
    return early, protocol.received, server.opened


@pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_upgraded_connection_is_passed_to_another_protocol(
    certificate: ssl.SSLContext, loop: Callable[[], asyncio.AbstractEventLoop], scheme: str
) -> None:
    def run() -> tuple[bytes, bytes, int]:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(upgrade(scheme, certificate if scheme == "https" else None))

    assert await asyncio.to_thread(run) == (b"early", b"ping, end", 2)


async def test_response_to_an_upgrade_request_can_be_ordinary(core: Core) -> None:
    assert (await core.fetch(UPGRADE))[2] == b"hello"
    assert (await core.fetch())[2] == b"hello"
    assert core.opened == 1
