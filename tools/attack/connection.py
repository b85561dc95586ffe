"""Connections for the attacks: a client that sends exact bytes to a service, and a Core that
records requests.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tools.attack.corpora import HOST

NEXT_READ_S = 0.4
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


def request(method: bytes, target: bytes, *headers: str, body: bytes = b"") -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: " + HOST]
    lines += [header.encode("utf-8", "surrogateescape") for header in headers]
    lines += [b"Content-Length: %d" % len(body)] if body or method == b"POST" else []
    return b"\r\n".join((*lines, b"Connection: close", b"", body))


@dataclass(frozen=True)
class Service:
    """A service at a URL. `timeout_s`: maximum wait for the beginning of a response."""

    url: str
    timeout_s: float = 20.0

    async def connect(self, start: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection, with TLS for https, and send the start of a raw request with the host
        of this service.
        """
        parts = urlsplit(self.url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls, limit=1 << 20)
        writer.write(start.replace(HOST, parts.netloc.encode(), 1))
        return reader, writer

    async def send(self, request: bytes) -> bytes:
        """Send a raw request. Returns everything that the service sends until it closes the
        connection or pauses.
        """
        reader, writer = await self.connect(request)
        received, timeout = b"", self.timeout_s
        try:
            with suppress(ConnectionError):
                await writer.drain()
            with suppress(TimeoutError, ConnectionError):
                while True:
                    async with asyncio.timeout(timeout):
                        data = await reader.read(1 << 16)
                    if not data:
                        break
                    received, timeout = received + data, NEXT_READ_S
        finally:
            writer.close()
        return received

    async def is_healthy(self) -> bool:
        return statuses(await self.send(request(b"GET", b"/healthz")))[:1] == [200]


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in _STATUS.findall(received)]


@dataclass(slots=True)
class RecordingCore:
    """An HTTP server on this machine that records the heads of requests."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - runs in a task of the server
        self.connections[task] = writer
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                await self._skip_body(reader, head.lower())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        except (
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ConnectionError,
            ValueError,
        ):
            writer.close()

    async def _skip_body(self, reader: asyncio.StreamReader, head: bytes) -> None:
        if b"transfer-encoding: chunked" in head:
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await reader.readexactly(size + 2)
            await reader.readuntil(b"\r\n")
        elif length := re.search(rb"\r\ncontent-length: (\d+)", head):
            await reader.readexactly(int(length[1]))


@asynccontextmanager
async def recording_core() -> AsyncIterator[RecordingCore]:
    core = RecordingCore()
    server = await asyncio.start_server(core.serve, "127.0.0.1", 0)
    core.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield core
    finally:
        server.close()
        for writer in core.connections.values():
            writer.close()
        await asyncio.gather(*core.connections, return_exceptions=True)
