"""Clients and Cores that send and record every header field and trailer, over HTTP/1.1 and 2."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from tests.runtime.services.gateway.conftest import Gateway

Fields = Sequence[tuple[str, str]]
PATIENCE_S = 60


@dataclass
class Message:
    """What a peer has received. interim: the fields of responses with status 1xx."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    status: str = ""


def decoded(fields: Any) -> list[tuple[str, str]]:
    """The fields of an event of h2, which have the encoding of its configuration."""
    return [(str(name), str(value)) for name, value in fields]


def lines(fields: Fields) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in fields)


def split(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in rest if line)
    return first, [(name.lower(), value.strip()) for name, _, value in pairs]


async def read_chunked(reader: asyncio.StreamReader) -> tuple[bytes, list[tuple[str, str]]]:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    trailers = b""
    while (line := await reader.readline()) not in (b"\r\n", b""):
        trailers += line
    return body, split(b"\r\n" + trailers)[1]


@dataclass
class RawCore:
    """Responds to each request with the same fields. interim: of a response with status 103."""

    is_http2: bool
    headers: Fields = ()
    trailers: Fields = ()
    interim: Fields = ()
    received: list[Message] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["RawCore"]:
        handle = self._http2 if self.is_http2 else self._http1
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()

    async def _http1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                _, fields = split((await reader.readuntil(b"\r\n\r\n"))[:-4])
                message = Message(fields)
                named = dict(fields)
                if "chunked" in named.get("transfer-encoding", ""):
                    message.body, message.trailers = await read_chunked(reader)
                else:
                    message.body = await reader.readexactly(int(named.get("content-length", 0)))
                self.received.append(message)
                interim = f"HTTP/1.1 103 Early Hints\r\n{lines(self.interim)}\r\n"
                if "upgrade" in named:
                    own = "Connection: upgrade\r\nUpgrade: websocket\r\n"
                    text = f"HTTP/1.1 101 Switching\r\n{own}{lines(self.headers)}\r\n"
                else:
                    text = (
                        f"{interim if self.interim else ''}HTTP/1.1 200 OK\r\n"
                        f"Transfer-Encoding: chunked\r\n{lines(self.headers)}\r\n"
                        f"2\r\nok\r\n0\r\n{lines(self.trailers)}\r\n"
                    )
                writer.write(text.encode("latin-1"))
        writer.close()

    async def _http2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(
            H2Configuration(
                client_side=False, header_encoding="latin-1", validate_outbound_headers=False
            )
        )
        connection.initiate_connection()
        messages: dict[int, Message] = {}
        with suppress(ConnectionError):
            while True:
                writer.write(connection.data_to_send())
                data = await reader.read(65536)
                if not data:
                    break
                for event in connection.receive_data(data):
                    if isinstance(event, RequestReceived):
                        messages[event.stream_id] = Message(decoded(event.headers))
                    elif isinstance(event, TrailersReceived):
                        messages[event.stream_id].trailers = decoded(event.headers)
                    elif isinstance(event, DataReceived):
                        messages[event.stream_id].body += event.data
                        connection.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                    elif isinstance(event, StreamEnded):
                        self.received.append(messages.pop(event.stream_id))
                        self._respond(connection, event.stream_id)
        writer.close()

    def _respond(self, connection: H2Connection, stream: int) -> None:
        def lower(fields: Fields) -> list[tuple[str, str]]:
            return [(name.lower(), value) for name, value in fields]

        if self.interim:
            connection.send_headers(stream, [(":status", "103"), *lower(self.interim)])
        connection.send_headers(stream, [(":status", "200"), *lower(self.headers)])
        connection.send_data(stream, b"ok", end_stream=not self.trailers)
        if self.trailers:
            connection.send_headers(stream, lower(self.trailers), end_stream=True)


async def send_http1(
    gateway: Gateway, path: str, headers: Fields, trailers: Fields = (), version: str = "1.1"
) -> Message:
    """Sends a request with a body of two bytes."""
    chunked = ("Transfer-Encoding", "chunked")
    head = lines([("Host", "gateway.test"), *([chunked] if version == "1.1" else []), *headers])
    body = f"2\r\nhi\r\n0\r\n{lines(trailers)}\r\n" if version == "1.1" else ""
    text = f"{'POST' if body else 'GET'} {path} HTTP/{version}\r\n{head}\r\n{body}"
    async with gateway.connection(text.encode("latin-1")) as (reader, _):
        return await read_response(reader)


async def read_response(reader: asyncio.StreamReader) -> Message:
    message = Message()
    while True:
        first, fields = split((await reader.readuntil(b"\r\n\r\n"))[:-4])
        message.status = first.split(" ")[1]
        if message.status == "101" or not message.status.startswith("1"):
            break
        message.interim += [(":status", message.status), *fields]
    message.headers = fields
    named = dict(fields)
    if "transfer-encoding" in named:
        message.body, message.trailers = await read_chunked(reader)
    elif message.status != "101":
        message.body = await reader.readexactly(int(named.get("content-length", 0)))
    return message


async def send_http2(
    gateway: Gateway, path: str, headers: Fields, trailers: Fields = ()
) -> Message:
    """Sends a request with a body of two bytes."""
    connection = H2Connection(
        H2Configuration(header_encoding="latin-1", validate_outbound_headers=False)
    )
    connection.initiate_connection()
    pseudo = [
        *((":method", "POST"), (":path", path)),
        *((":scheme", "http"), (":authority", "gateway.test")),
    ]
    fields = [(name.lower(), value) for name, value in headers]
    connection.send_headers(1, [*pseudo, *fields])
    connection.send_data(1, b"hi", end_stream=not trailers)
    if trailers:
        connection.send_headers(1, [(n.lower(), v) for n, v in trailers], end_stream=True)
    message = Message()
    async with gateway.connection() as (reader, writer):
        while True:
            writer.write(connection.data_to_send())
            data = await reader.read(65536)
            assert data, "the gateway has closed the connection"
            for event in connection.receive_data(data):
                if _receive(connection, message, event):
                    return message


def _receive(connection: H2Connection, message: Message, event: Event) -> bool:
    """True at the end of the response."""
    if isinstance(event, InformationalResponseReceived):
        message.interim += decoded(event.headers)
    elif isinstance(event, ResponseReceived):
        message.headers = decoded(event.headers)
        message.status = dict(message.headers)[":status"]
    elif isinstance(event, TrailersReceived):
        message.trailers = decoded(event.headers)
    elif isinstance(event, DataReceived):
        message.body += event.data
    elif isinstance(event, StreamReset):
        raise ConnectionResetError(event.error_code)
    return isinstance(event, StreamEnded)
