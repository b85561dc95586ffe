"""A server for HTTP/1.1 over a Unix socket to which only Envoy connects.

Envoy has parsed and limited each request, sends its body at once (the buffer filter) unless the
client expects an interim response, and sends the next request of a connection after the response.
The server therefore needs no timeouts.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httptools

from gatehouse.platform.web import responses

_BACKLOG = 4096
_STATUS_LINES = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}


class LocalConnection(asyncio.Protocol, ABC):
    """A connection of Envoy.

    body_max_bytes: maximum size of a body, of which no more than one byte more is kept. With it,
    requests can have the header Expect (RFC 9110, section 10.1.1).
    """

    __slots__ = (
        *("_body", "_body_max_bytes", "_fields", "_is_refused", "_parser", "_target", "_transport"),
    )

    def __init__(self, body_max_bytes: int | None = None) -> None:
        self._body_max_bytes = body_max_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._target, self._fields, self._body = b"", list[responses.Header](), b""
        self._is_refused = False

    @abstractmethod
    def received(
        self, method: str, target: bytes, fields: list[responses.Header], body: bytes
    ) -> None:
        """Processes a request. target: empty if the request could not be parsed. fields: names in
        lowercase and values of its headers.
        """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # a check of a WebSocket handshake
        except httptools.HttpParserError:
            self._refuse()

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self._body_max_bytes is not None and any(name == b"expect" for name, _ in self._fields):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        if self._body_max_bytes is not None:
            part = part[: self._body_max_bytes + 1 - len(self._body)]
        self._body += part

    def _refuse(self) -> None:
        """Processes a request that the parser does not know, of which the method and the path are
        not logged. Clients can send it over HTTP/2.
        """
        self._is_refused, self._fields = True, []
        self.received("GET", b"", [], b"")

    def on_message_complete(self) -> None:
        target, fields, body = self._target, self._fields, self._body
        self._target, self._fields, self._body = b"", [], b""
        self.received(self._parser.get_method().decode(), target, fields, body)
        if self._parser.should_upgrade():
            # The parser reads no further request after a request for an upgrade.
            self._parser = httptools.HttpRequestParser(self)

    def respond(self, response: responses.Response) -> None:
        if self._is_refused:
            response.raw_headers.append((b"connection", b"close"))
        self._write(encode_response(response))
        if self._is_refused:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        """Sends a response, unless Envoy has ended the connection."""
        if not self._transport.is_closing():
            self._transport.write(data)


def encode_response(response: responses.Response) -> bytes:
    status = response.status_code
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"%b%b\r\n%b" % (line, encode_headers(response.raw_headers), response.body)


def encode_headers(headers: Sequence[responses.Header]) -> bytes:
    return b"\r\n".join([*map(b": ".join, headers), b""])


async def listen(
    path: Path, factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None
) -> asyncio.AbstractServer:
    """Serves a Unix socket that only this user can connect to. Replaces that of a worker that was
    killed.
    """
    path.unlink(missing_ok=True)
    server = await asyncio.get_running_loop().create_unix_server(
        factory, str(path), backlog=_BACKLOG, ssl=tls
    )
    path.chmod(0o600)
    return server
